package peertest

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/sqlstore"
	"github.com/authprofile/authprofile/storetest"
)

// storeProcess, in the environment, makes the test program a process that
// serves the Store of a database to the test.
const storeProcess = "AUTHPROFILE_PEERTEST_STORES"

// A StoreCall is a call of one method of a Store, and a StoreReply what it has
// returned.
type StoreCall struct {
	Method    string
	Timeout   time.Duration
	Key       authprofile.GrantKey
	Filter    authprofile.GrantFilter
	ID, After string
	Before    time.Time
	Limit     int
	Profile   *authprofile.Profile
	Grant     *authprofile.Grant
	Flow      *authprofile.Flow
}

type StoreReply struct {
	Profiles []*authprofile.Profile
	Grants   []*authprofile.Grant
	Counts   map[authprofile.Status]int64
	Flow     *authprofile.Flow
	State    string
	Error    string
}

var states = map[string]error{"not found": authprofile.ErrNotFound, "conflict": authprofile.ErrConflict}

func one[T any](v T, err error) ([]T, error) { return []T{v}, err }

// Stores is the server's side.
type Stores struct{ store *sqlstore.Store }

// Call calls a method.
func (s *Stores) Call(c *StoreCall, r *StoreReply) (err error) {
	st := s.store
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	switch c.Method {
	case "Migrate":
		err = st.Migrate(ctx)
	case "Profile":
		r.Profiles, err = one(st.Profile(ctx, c.ID))
	case "ListProfiles":
		r.Profiles, err = st.ListProfiles(ctx, c.After, c.Limit)
	case "PutProfile":
		err = st.PutProfile(ctx, c.Profile)
		r.Profiles = []*authprofile.Profile{c.Profile}
	case "DeleteProfile":
		err = st.DeleteProfile(ctx, c.ID)
	case "Grant":
		r.Grants, err = one(st.Grant(ctx, c.Key))
	case "ListGrants":
		r.Grants, err = st.ListGrants(ctx, c.Filter, c.Key, c.Limit)
	case "CountGrants":
		r.Counts, err = st.CountGrants(ctx, c.ID)
	case "DueGrants":
		r.Grants, err = st.DueGrants(ctx, c.Before, c.Limit)
	case "PutGrant":
		err = st.PutGrant(ctx, c.Grant)
		r.Grants = []*authprofile.Grant{c.Grant}
	case "DeleteGrant":
		err = st.DeleteGrant(ctx, c.Key)
	case "PutFlow":
		err = st.PutFlow(ctx, c.Flow)
	case "TakeFlow":
		r.Flow, err = st.TakeFlow(ctx, c.ID)
	default:
		return errors.New("no method " + c.Method)
	}
	if err != nil {
		*r = StoreReply{Error: err.Error()}
		for name, state := range states {
			if errors.Is(err, state) {
				r.State = name
			}
		}
	}
	return nil
}

// serveStores serves until the test that has started it ends.
func serveStores() {
	db, err := sql.Open(os.Getenv("STORE_DRIVER"), os.Getenv(storeProcess))
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	store, err := sqlstore.New(db, sqlstore.Dialect(os.Getenv("STORE_DIALECT")), nil)
	if err != nil {
		panic(err)
	}
	srv := rpc.NewServer()
	srv.Register(&Stores{store})
	srv.ServeConn(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
}

// startStores starts a process that serves the Store of a database.
func startStores(t testing.TB, tg target, dsn string) *rpc.Client {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), storeProcess+"="+dsn, "STORE_DRIVER="+tg.driver, "STORE_DIALECT="+string(tg.dialect))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	t.Cleanup(func() {
		c.Close() // the end of its input, and so of the process
		if err := cmd.Wait(); err != nil {
			t.Errorf("process of a store: %v", err)
		}
	})
	return c
}

// A remoteStore is a Store in another process.
type remoteStore struct {
	client *rpc.Client
	calls  sync.WaitGroup // that have not ended in the other process
}

var _ authprofile.Store = (*remoteStore)(nil)

func (s *remoteStore) call(ctx context.Context, c StoreCall) (*StoreReply, error) {
	c.Timeout = time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		c.Timeout = time.Until(deadline)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := new(StoreReply)
	ended := make(chan error, 1)
	s.calls.Go(func() { ended <- s.client.Call("Stores.Call", &c, r) })
	select {
	case err := <-ended:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case r.State != "":
		return nil, states[r.State]
	case r.Error != "":
		return nil, errors.New(r.Error)
	}
	return r, nil
}

func (s *remoteStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	r, err := s.call(ctx, StoreCall{Method: "Profile", ID: id})
	if err != nil {
		return nil, err
	}
	return r.Profiles[0], nil
}

func (s *remoteStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	r, err := s.call(ctx, StoreCall{Method: "ListProfiles", After: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	return r.Profiles, nil
}

func (s *remoteStore) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	r, err := s.call(ctx, StoreCall{Method: "PutProfile", Profile: p.Clone()})
	if err != nil {
		return err
	}
	p.Version, p.Created, p.Updated = r.Profiles[0].Version, r.Profiles[0].Created, r.Profiles[0].Updated
	return nil
}

func (s *remoteStore) DeleteProfile(ctx context.Context, id string) error {
	_, err := s.call(ctx, StoreCall{Method: "DeleteProfile", ID: id})
	return err
}

func (s *remoteStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	r, err := s.call(ctx, StoreCall{Method: "Grant", Key: key})
	if err != nil {
		return nil, err
	}
	return r.Grants[0], nil
}

func (s *remoteStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	r, err := s.call(ctx, StoreCall{Method: "ListGrants", Filter: f, Key: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	return r.Grants, nil
}

func (s *remoteStore) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	r, err := s.call(ctx, StoreCall{Method: "CountGrants", ID: profileID})
	if err != nil {
		return nil, err
	}
	return r.Counts, nil
}

func (s *remoteStore) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	r, err := s.call(ctx, StoreCall{Method: "DueGrants", Before: before, Limit: limit})
	if err != nil {
		return nil, err
	}
	return r.Grants, nil
}

func (s *remoteStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	r, err := s.call(ctx, StoreCall{Method: "PutGrant", Grant: g.Clone()})
	if err != nil {
		return err
	}
	g.Version, g.Created, g.Updated = r.Grants[0].Version, r.Grants[0].Created, r.Grants[0].Updated
	return nil
}

func (s *remoteStore) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	_, err := s.call(ctx, StoreCall{Method: "DeleteGrant", Key: key})
	return err
}

func (s *remoteStore) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	_, err := s.call(ctx, StoreCall{Method: "PutFlow", Flow: f.Clone()})
	return err
}

func (s *remoteStore) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	r, err := s.call(ctx, StoreCall{Method: "TakeFlow", ID: id})
	if err != nil {
		return nil, err
	}
	return r.Flow, nil
}

// Three processes on one database are one Store. Each of them migrates it at
// its start, all at once. Every check finds the same tables, emptied: to make
// others takes longer than most checks.
func TestStoreProcesses(t *testing.T) {
	require.Long(t, "the suite of shared stores in three processes")
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			t.Parallel()
			dsn := tg.dsn(t)
			db := tg.open(t, dsn)
			clients := []*rpc.Client{startStores(t, tg, dsn), startStores(t, tg, dsn), startStores(t, tg, dsn)}
			handles := make([]authprofile.Store, len(clients))
			var migrated sync.WaitGroup
			for i, client := range clients {
				s := &remoteStore{client: client}
				handles[i] = s
				migrated.Go(func() {
					if _, err := s.call(t.Context(), StoreCall{Method: "Migrate"}); err != nil {
						t.Errorf("Migrate in process %d: got error %v, want none", i, err)
					}
				})
			}
			migrated.Wait()
			storetest.RunShared(t, func(t *testing.T, n int) []authprofile.Store {
				for _, table := range []string{"profiles", "grants", "flows"} {
					if _, err := db.Exec("DELETE FROM authprofile_" + table); err != nil {
						t.Fatal(err)
					}
				}
				stores := make([]authprofile.Store, n)
				for i := range stores {
					stores[i] = handles[i%len(handles)]
				}
				// What a call that was canceled has begun must not be done in
				// the check that comes next.
				t.Cleanup(func() {
					for _, s := range handles {
						s.(*remoteStore).calls.Wait()
					}
				})
				return stores
			})
		})
	}
}
