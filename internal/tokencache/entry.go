package tokencache

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// Never is later than any time.
const Never = math.MaxInt64

// A Token is an access token with what is known of its end. It does not
// change.
type Token struct {
	oauth2.Token

	RenewAt int64 // when to renew it, in Unix nanoseconds, or Never
	End     int64 // when to stop serving it, in Unix nanoseconds, or Never

	Obtained time.Time
}

// An Entry is the place of one grant's token in memory. Its methods may be
// called by many goroutines at once.
type Entry struct {
	// hot is the token to return without another look. It is put there only
	// while it will be good for a tick at least, and taken away at each tick,
	// so that the clock is not read at every call; see sweeper.
	hot atomic.Pointer[oauth2.Token]

	// freshUntil is until when, in Unix nanoseconds, the token is valid and
	// nothing is to be done about it. It is here so that a look at one of a
	// million entries touches no more memory than this.
	freshUntil atomic.Int64

	token    atomic.Pointer[Token]
	nextTry  atomic.Int64  // when to try to renew it after a failure, in Unix nanoseconds
	renewing atomic.Bool   // a renewal is under way
	lastTick atomic.Uint32 // the tick in which the token was last asked for without being hot

	mu      sync.Mutex
	inSweep bool // the sweeper knows this entry
	evicted bool // no longer in the cache

	// Under the shard's lock.

	referenced bool   // used since it last moved to the front
	movedAt    uint32 // how many entries had been inserted when it did
	prev       *Entry
	next       *Entry

	key  Key
	memo any // under mu
}

// NewEntry returns an entry that belongs to no Cache and is never evicted, for
// a source that shares its token with no other.
func NewEntry() *Entry { return new(Entry) }

// Key returns the key of the entry; that of one that belongs to no Cache is
// empty.
func (e *Entry) Key() Key { return e.key }

// Hot returns the token to return without another look, or nil.
func (e *Entry) Hot() *oauth2.Token { return e.hot.Load() }

// Current returns the token of the entry, whether valid or not, or nil.
func (e *Entry) Current() *Token { return e.token.Load() }

// Valid returns the token of the entry, or nil if there is none, or it has
// ended, or it is the rejected one.
func (e *Entry) Valid(now int64, rejected string) *Token {
	t := e.token.Load()
	if t == nil || now >= t.End || rejected != "" && t.AccessToken == rejected {
		return nil
	}
	return t
}

// Set puts another token into the entry; nil for none. A time that was set by
// [Entry.SetNextTry] was for the token before, and no longer counts.
func (e *Entry) Set(t *Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.freshUntil.Store(0)
	e.token.Store(t)
	if t != nil {
		e.freshUntil.Store(min(t.RenewAt, t.End))
	}
	e.hot.Store(nil)
	e.nextTry.Store(0)
}

// IsDue reports whether a renewal of t, a token of this entry, should begin:
// it is time to, no earlier failure says to wait, and none is under way.
func (e *Entry) IsDue(t *Token, now int64) bool {
	return now >= t.RenewAt && now >= e.nextTry.Load() && !e.renewing.Load()
}

// SetNextTry says when, in Unix nanoseconds, the token may be renewed at the
// earliest, after a renewal that has failed.
func (e *Entry) SetNextTry(ns int64) { e.nextTry.Store(ns) }

// SetRenewing says whether a renewal is under way.
func (e *Entry) SetRenewing(is bool) { e.renewing.Store(is) }

// IsEvicted reports whether the entry has made room for another. What is put
// into it now will not be found by those who ask the Cache.
func (e *Entry) IsEvicted() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.evicted
}

// Memo returns what was last kept by [Entry.UpdateMemo], or nil.
func (e *Entry) Memo() any {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.memo
}

// UpdateMemo keeps what f makes of the memo, which is nil at first. Others wait
// meanwhile: f must not block, nor call a method of the entry. What Memo has
// returned may be in use elsewhere, so f returns a changed copy of it.
func (e *Entry) UpdateMemo(f func(memo any) any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.memo = f(e.memo)
}

// evict marks an entry that is no longer in the cache, so that the sources that
// still point to it look for the one that is. The memo stays, for a renewal
// that is under way.
func (e *Entry) evict() {
	e.mu.Lock()
	e.evicted = true
	e.hot.Store(nil)
	e.token.Store(nil) // the sweeper may hold on to the entry for a while yet
	e.mu.Unlock()
}

// cool takes the hot token back.
func (e *Entry) cool() {
	e.mu.Lock()
	e.inSweep = false
	e.hot.Store(nil)
	e.mu.Unlock()
}

func (e *Entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
}

func (e *Entry) linkAfter(at *Entry) {
	e.prev, e.next = at, at.next
	at.next.prev = e
	at.next = e
}
