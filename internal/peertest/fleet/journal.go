package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A Kind is what an Entry of a journal is about.
type Kind string

const (
	Putting Kind = "putting" // a grant is about to be put
	Put     Kind = "put"     // it was put
	NotPut  Kind = "not put" // or the Store has returned an error
	Saw     Kind = "saw"     // another process's lease was read, for the first time
	Failed  Kind = "failed"  // Token has returned an error
	Unkept  Kind = "unkept"  // Maintain has returned an error
	Stalled Kind = "stalled" // the process got no time to run: the machine is busy
)

// An Entry is one line of a journal. It names tokens by their fingerprint.
type Entry struct {
	Time    time.Time
	Kind    Kind
	User    string
	Put     int64              `json:",omitempty"` // counts the puts of a process: Put and NotPut go with a Putting
	Version int64              `json:",omitempty"`
	Refresh string             `json:",omitempty"`
	Access  string             `json:",omitempty"`
	Lease   string             `json:",omitempty"` // the attempt
	Status  authprofile.Status `json:",omitempty"`
	Reason  authprofile.Reason `json:",omitempty"`
	Due     time.Time          `json:",omitzero"`
	Told    authprofile.Status `json:",omitempty"`
	Error   string             `json:",omitempty"`
	For     time.Duration      `json:",omitempty"` // stalled: until Time

	// HadToken: the caller of Token held one that was still valid.
	HadToken bool `json:",omitempty"`
}

// A journal is a file that is written before and after each step, by a single
// write each, so that it says what a process did until it was killed.
type journal struct {
	f *os.File
}

func openJournal(name string) (*journal, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &journal{f}, err
}

func (j *journal) write(e Entry) {
	e.Time = time.Now()
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.f.Write(append(line, '\n'))
	}
	if err != nil {
		panic(err) // a journal with gaps proves nothing
	}
}

// readJournal returns the entries of a journal. The last line of a process
// that was killed may not be whole.
func readJournal(t testing.TB, name string) []Entry {
	t.Helper()
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // killed before it began
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entries []Entry
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			entries = append(entries, e)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return entries
}

// A journalStore notes what is put into a Store, and whose leases are read.
type journalStore struct {
	authprofile.Store
	j    *journal
	puts atomic.Int64

	mu   sync.Mutex
	seen map[authprofile.GrantKey]string // the latest attempt, this process's own included
}

func newJournalStore(s authprofile.Store, j *journal) *journalStore {
	return &journalStore{Store: s, j: j, seen: make(map[authprofile.GrantKey]string)}
}

func (s *journalStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	g, err := s.Store.Grant(ctx, key)
	if err == nil && g.Lease != nil && s.isNew(g) {
		s.j.write(Entry{Kind: Saw, User: g.User, Version: g.Version, Lease: g.Lease.Attempt})
	}
	return g, err
}

func (s *journalStore) isNew(g *authprofile.Grant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[g.GrantKey] == g.Lease.Attempt {
		return false
	}
	s.seen[g.GrantKey] = g.Lease.Attempt
	return true
}

func (s *journalStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	e := Entry{Kind: Putting, User: g.User, Put: s.puts.Add(1), Version: g.Version, Status: g.Status, Due: g.Due, Told: g.Told}
	if g.RefreshToken != "" {
		e.Refresh = providertest.Fingerprint(string(g.RefreshToken))
	}
	if g.AccessToken != "" {
		e.Access = providertest.Fingerprint(string(g.AccessToken))
	}
	if g.Lease != nil {
		e.Lease = g.Lease.Attempt
		s.isNew(g)
	}
	if g.Failure != nil {
		e.Reason = g.Failure.Reason
	}
	s.j.write(e)
	err := s.Store.PutGrant(ctx, g)
	e.Kind, e.Version = Put, g.Version
	if err != nil {
		e.Kind, e.Error = NotPut, err.Error()
	}
	s.j.write(e)
	return err
}
