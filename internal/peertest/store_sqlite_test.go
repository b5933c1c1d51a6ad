package peertest

import (
	"os"
	"strings"
	"testing"
)

// plainSQLite returns the address of a new file without WAL or busy timeout.
func plainSQLite(t testing.TB) string {
	dsn, _, _ := strings.Cut(sqlite.dsn(t), "?")
	return dsn
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
