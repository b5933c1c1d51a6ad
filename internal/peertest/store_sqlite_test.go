package peertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// plainSQLite returns the address of a new file without WAL or busy timeout.
func plainSQLite(t testing.TB) string {
	dsn, _, _ := strings.Cut(sqlite.dsn(t), "?")
	return dsn
}

// SQLite answers "no such table" on a connection that was there before the
// tables if it cannot look again, because another connection has the file locked.
// Such a lock is waited for like any other.
func TestStoreSQLiteSchemaLocked(t *testing.T) {
	dsn := plainSQLite(t)
	early := sqlite.open(t, dsn)
	early.SetMaxOpenConns(1)
	mustExec(t, early, "CREATE TABLE other (x)")
	count(t, early, "SELECT COUNT(*) FROM other")
	s := sqlite.unmigrated(t, early, "")

	db := sqlite.open(t, dsn)
	db.SetMaxOpenConns(1)
	g := mustWork(t, sqlite.store(t, db, ""), "u")
	mustExec(t, db, "BEGIN EXCLUSIVE")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Grant(ctx, g.GrantKey); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Grant while the file is locked: got error %v, want it to wait until its context ends", err)
	}
	mustExec(t, db, "ROLLBACK")
	mustStillHave(t, s, g)
}

// A table that is missing is missed at once.
func TestStoreSQLiteTableMissing(t *testing.T) {
	db := sqlite.open(t, plainSQLite(t))
	s := sqlite.store(t, db, "")
	mustExec(t, db, "DROP TABLE authprofile_grants")
	mustExec(t, db, "ALTER TABLE authprofile_profiles DROP COLUMN params")
	begin := time.Now()
	_, err := s.Grant(t.Context(), authprofile.GrantKey{ProfileID: "crm"})
	_, err2 := s.Profile(t.Context(), "crm")
	for _, err := range []error{err, err2} {
		mustFail(t, "a call", err)
		if !strings.Contains(err.Error(), "Migrate") {
			t.Errorf("error: got %q, want Migrate mentioned", err)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("both calls: took %v, want them to return at once", took)
	}
}

// Calls that begin once Migrate has returned find the tables, on connections
// that were there before, and while others write.
func TestStoreSQLiteRightAfterMigrate(t *testing.T) {
	for round := range 10 {
		dsn := plainSQLite(t)
		db := sqlite.open(t, dsn)
		mustExec(t, db, "CREATE TABLE other (x)")
		migrated := make(chan struct{})
		var ready, done sync.WaitGroup
		for i := range 6 {
			early := sqlite.open(t, dsn)
			early.SetMaxOpenConns(1)
			s := sqlite.unmigrated(t, early, "")
			ready.Add(1)
			done.Go(func() {
				count(t, early, "SELECT COUNT(*) FROM other")
				ready.Done()
				<-migrated
				g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "crm", User: fmt.Sprint(i)}}
				if _, err := s.Grant(t.Context(), g.GrantKey); !errors.Is(err, authprofile.ErrNotFound) {
					t.Errorf("round %d, Grant: got error %v, want ErrNotFound", round, err)
				}
				if err := s.PutGrant(t.Context(), g); err != nil {
					t.Errorf("round %d, PutGrant: got error %v, want none", round, err)
				}
			})
		}
		ready.Wait()
		err := sqlite.unmigrated(t, db, "").Migrate(t.Context())
		close(migrated)
		if err != nil {
			t.Errorf("Migrate: got error %v, want none", err)
		}
		done.Wait()
	}
}

// A file that was replaced, by a backup, is opened again: on what is left of
// the old one nothing can be written.
func TestStoreSQLiteFileReplaced(t *testing.T) {
	dsn := plainSQLite(t)
	file := strings.TrimPrefix(dsn, "file:")
	s := sqlite.store(t, sqlite.open(t, dsn), "")
	g := mustWork(t, s, "u")
	backup, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".backup", backup, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".backup", file); err != nil {
		t.Fatal(err)
	}
	if err := s.PutGrant(t.Context(), g); err != nil {
		t.Fatalf("PutGrant: got error %v, want none", err)
	}
	mustStillHave(t, sqlite.unmigrated(t, sqlite.open(t, dsn), ""), g)
}
