package authprofile

import (
	"crypto/sha256"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// A held token is one in memory, with what is known of its end. It does not
// change.
type held struct {
	tok oauth2.Token
	due int64 // when to renew it, in Unix nanoseconds
	end int64 // when to stop serving it, in Unix nanoseconds

	obtained time.Time
}

const never = math.MaxInt64

// minUse is how long even a token that expires on arrival is served, so that
// an odd lifetime does not become a storm of requests.
const minUse = shortestBackoff

// hold takes a grant's access token into memory.
func (e *engine) hold(g *Grant) *held {
	now := e.now()
	h := &held{tok: *g.Token(), due: never, end: never, obtained: g.Obtained}
	renewable := g.User == "" || g.RefreshToken != ""
	if g.Expiry.IsZero() {
		// The lifetime is not known: it is served until an API refuses it. Now
		// and then it is renewed where that costs the user nothing, and looked
		// for in the Store where it does, in case it was ended there.
		since := now
		if renewable && !g.Obtained.IsZero() && g.Obtained.Before(now) {
			since = g.Obtained
		}
		h.due = unixNano(since.Add(time.Hour + rand.N(6*time.Minute)))
		return h
	}
	h.end = unixNano(g.usableUntil(now))
	if renewable {
		// Each process draws its own moment, so that they do not all read the
		// store at once, nor renew at once what was issued at once.
		window := e.renewBefore(g, now)
		h.due = h.end - int64(window) + int64(rand.N(window/2+1))
	}
	return h
}

// unixNano is t.UnixNano, and for times that are too far away for it a long
// time ago or never.
func unixNano(t time.Time) int64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= never/int64(time.Second):
		return never
	}
	return t.UnixNano()
}

// renewBefore is how long before its end a grant's token is renewed.
func (e *engine) renewBefore(g *Grant, now time.Time) time.Duration {
	window := e.m.RenewBefore
	if window <= 0 {
		window = time.Minute
	}
	life := g.usableUntil(now).Sub(g.Obtained)
	if g.Obtained.IsZero() || g.Obtained.After(now) {
		life = g.usableUntil(now).Sub(now)
	}
	return max(0, min(window, life/3))
}

// usableUntil is when the access token of g, whose lifetime is known, is no
// longer served. If it comes from the future, by a clock that was ahead, it is
// served for its whole life from now at most.
func (g *Grant) usableUntil(now time.Time) time.Time {
	until := g.Expiry
	if g.Obtained.IsZero() {
		return until
	}
	if first := g.Obtained.Add(minUse); until.Before(first) {
		until = first
	}
	if g.Obtained.After(now) {
		until = now.Add(until.Sub(g.Obtained))
	}
	return until
}

// usable reports whether the access token of g can be served.
func (g *Grant) usable(now time.Time) bool {
	return g.AccessToken != "" && (g.Expiry.IsZero() || now.Before(g.usableUntil(now)))
}

// A slot is the place of one grant in memory.
type slot struct {
	// hot is the token to return without another look. It is put there only
	// while it will be good for a tick at least, and taken away at each tick,
	// so that the clock is not read at every call; see sweeper.
	hot atomic.Pointer[oauth2.Token]

	// good is until when, in Unix nanoseconds, the token of cur is valid and
	// nothing is to be done about it. It is here so that a look at one of a
	// million slots touches no more memory than this.
	good atomic.Int64

	cur     atomic.Pointer[held]
	nextTry atomic.Int64  // after a failed renewal ahead of time; Unix nanoseconds
	flying  atomic.Bool   // a renewal is under way
	asked   atomic.Uint32 // the tick in which the token was last asked for, but for when it is hot

	mu    sync.Mutex
	armed bool // the sweeper knows this slot
	gone  bool // no longer in the cache

	// Under the shard's lock.

	again bool   // used since it last moved to the front
	moved uint32 // how many slots had been made when it did
	prev  *slot
	next  *slot

	key  GrantKey
	memo *memo // under mu; nil: nothing to be remembered

	watch *watch // of the grant's lease; for the flight alone
}

// A memo is what the renewals of a grant remember from one to the next.
type memo struct {
	failed   *failedError // the latest, for grants that no Store keeps
	refusals refusals
	written  *written
}

// note changes the memo.
func (s *slot) note(f func(m *memo)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memo == nil {
		s.memo = new(memo)
	}
	f(s.memo)
}

// A refusals is what is known of an API that refuses the tokens of a grant.
type refusals struct {
	token  string    // the latest that was refused
	count  int       // how many were, one after the other
	at     time.Time // when the latest was first refused
	next   time.Time // when another may be asked for
	looked time.Time // when the Store was last asked for another one
}

const (
	forgetRefusals = 10 * time.Minute
	inUse          = time.Minute // after which a token was not refused as soon as it was there
	sameAgain      = time.Minute // before a provider is asked again that has given the refused token once more
)

// wait is how long to wait until another token may be asked for than a refused
// one: none if that has been in use for a while, and the longer the more
// tokens in a row were refused as soon as they were there.
func (r *refusals) wait(token string, obtained, now time.Time) time.Duration {
	if token != r.token {
		if now.Sub(r.at) >= forgetRefusals || !obtained.IsZero() && now.Sub(obtained) >= inUse {
			r.count = 0
		}
		if obtained.IsZero() || obtained.After(now) {
			obtained = now.Add(-shortestBackoff)
		}
		r.count++
		r.token, r.at = token, now
		r.next = obtained.Add(shortestBackoff)
		if r.count > 1 {
			r.next = obtained.Add(backoff(r.count))
		}
	}
	r.looked = now
	return r.next.Sub(now)
}

// again notes that the provider has given the refused token once more.
func (r *refusals) again(token string, now time.Time) {
	if token != r.token {
		r.token, r.count = token, 0
	}
	r.count++
	r.at = now
	r.next = now.Add(max(sameAgain, backoff(r.count)))
}

// known reports whether it was found out a moment ago that there is no other
// token than the refused one.
func (r refusals) known(token string, now time.Time) bool {
	return token == r.token && now.Before(r.next) && now.Sub(r.looked) < shortestBackoff
}

// A written is a grant that this process has stored, in place of one with
// another refresh token. A Store that gives that one back has gone back to an
// earlier state.
type written struct {
	before [sha256.Size]byte // of the refresh token that it has replaced
	grant  *Grant
}

// set puts another token into the slot; nil for none.
func (s *slot) set(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good.Store(0)
	s.cur.Store(h)
	if h != nil {
		s.good.Store(min(h.due, h.end))
	}
	s.hot.Store(nil)
	s.nextTry.Store(0)
	if s.memo != nil {
		s.memo.failed = nil
	}
}

// forgetWritten forgets what this process has stored: a person has put an end
// to it.
func (s *slot) forgetWritten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memo != nil {
		s.memo.written = nil
	}
}

// recall returns what is remembered of the grant.
func (s *slot) recall() memo {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memo == nil {
		return memo{}
	}
	return *s.memo
}

func (s *slot) setFailed(f *failedError) { s.note(func(m *memo) { m.failed = f }) }

// get returns the held token unless it has ended or is the rejected one.
func (s *slot) get(now int64, rejected string) *held {
	h := s.cur.Load()
	if h == nil || now >= h.end || rejected != "" && h.tok.AccessToken == rejected {
		return nil
	}
	return h
}

// due reports whether a renewal of h should begin.
func (s *slot) due(h *held, now int64) bool {
	return now >= h.due && now >= s.nextTry.Load() && !s.flying.Load()
}

// tick is how long a token may be returned without a look at the clock.
const tick = 500 * time.Millisecond

// A sweeper takes back, at each tick, all that is hot. Then the next caller
// looks at the wall clock and makes it hot again. A timer runs on the
// monotonic clock, which stands still while a machine sleeps: a tick after
// waking at the latest, tokens that ended meanwhile are out. Nothing ticks
// while nothing is used.
type sweeper struct {
	mu    sync.Mutex
	armed []*slot
	timer *time.Timer
	off   bool
}

// ready returns the token in memory, if it is valid and nothing is to be done
// about it.
func (e *engine) ready(s *slot) *oauth2.Token {
	if t := s.hot.Load(); t != nil {
		return t
	}
	now := e.now().UnixNano()
	if now >= s.good.Load() {
		return nil
	}
	h := s.cur.Load()
	if h == nil {
		return nil
	}
	e.arm(s, h, now)
	return &h.tok
}

// arm makes h hot in s for the rest of this tick, if it is good for a whole
// one and nothing is to be done about it. It takes two calls within a tick:
// what is asked for less often than that costs less cold.
func (e *engine) arm(s *slot, h *held, now int64) {
	if t := uint32(now / int64(tick)); s.asked.Load() != t {
		s.asked.Store(t)
		return
	}
	until := h.end
	if !s.flying.Load() {
		until = min(until, max(h.due, s.nextTry.Load()))
	}
	if until-now <= int64(tick) {
		return
	}
	s.mu.Lock()
	if s.gone || s.cur.Load() != h { // nobody would take it back; not the current one
		s.mu.Unlock()
		return
	}
	s.hot.Store(&h.tok)
	known := s.armed
	s.armed = true
	s.mu.Unlock()
	if !known {
		e.sweeper.add(s)
	}
}

func (w *sweeper) add(s *slot) {
	w.mu.Lock()
	if w.off {
		w.mu.Unlock()
		s.disarm()
		return
	}
	defer w.mu.Unlock()
	w.armed = append(w.armed, s)
	if len(w.armed) > 1 {
		return
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(tick, w.sweep)
	} else {
		w.timer.Reset(tick)
	}
}

func (w *sweeper) sweep() {
	w.mu.Lock()
	armed := w.armed
	w.armed = nil
	w.mu.Unlock()
	for _, s := range armed {
		s.disarm()
	}
}

func (w *sweeper) stop() {
	w.mu.Lock()
	w.off = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.sweep()
}

func (s *slot) disarm() {
	s.mu.Lock()
	s.armed = false
	s.hot.Store(nil)
	s.mu.Unlock()
}

// A cache holds slots by grant, a bounded number of them. The least recently
// used leave first; in a large cache, nearly so.
type cache struct {
	seed   maphash.Seed
	shards []shard
}

type shard struct {
	mu    sync.Mutex
	slots map[GrantKey]*slot
	used  slot // head of the ring: next is the most recently used
	limit int
	made  uint32 // slots, until now

	// To move a slot to the front touches two others that are not in the
	// processor's cache. One that has moved since all but the latest few came
	// stays where it is, and gets a second chance when it is the last.
	few uint32

	_ [64]byte // keep neighbours' locks off one cache line
}

const (
	defaultCacheSize = 10_000
	manyShards       = 64
)

func newCache(size int) *cache {
	if size <= 0 {
		size = defaultCacheSize
	}
	n := 1
	if size >= 64*manyShards {
		n = manyShards // small caches are exact, large ones are quick
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.slots = make(map[GrantKey]*slot)
		sh.used.next, sh.used.prev = &sh.used, &sh.used
		sh.limit = size / n
		if n > 1 {
			sh.few = uint32(sh.limit / 16)
		}
	}
	return c
}

func (c *cache) shard(key GrantKey) *shard {
	if len(c.shards) == 1 {
		return &c.shards[0]
	}
	return &c.shards[maphash.Comparable(c.seed, key)%uint64(len(c.shards))]
}

// slot returns the slot of a grant, an empty one if there was none.
func (c *cache) slot(key GrantKey) *slot {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.slots[key]
	if s != nil {
		if sh.few > 0 && sh.made-s.moved <= sh.few {
			s.again = true
		} else if sh.used.next != s {
			sh.toFront(s)
		}
		return s
	}
	if len(sh.slots) >= sh.limit {
		last := sh.used.prev
		for last.again {
			sh.toFront(last)
			last = sh.used.prev
		}
		delete(sh.slots, last.key)
		last.unlink()
		last.leave()
	}
	sh.made++
	s = &slot{key: key, moved: sh.made}
	sh.slots[key] = s
	s.linkAfter(&sh.used)
	return s
}

func (sh *shard) toFront(s *slot) {
	s.unlink()
	s.linkAfter(&sh.used)
	s.again, s.moved = false, sh.made
}

// peek returns the slot of a grant if there is one, without using it.
func (c *cache) peek(key GrantKey) *slot {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.slots[key]
}

// drop forgets what is known of a grant.
func (c *cache) drop(key GrantKey) {
	if s := c.peek(key); s != nil {
		s.set(nil)
	}
}

// dropProfile forgets the grants of a profile.
func (c *cache) dropProfile(id string) {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		for key, s := range sh.slots {
			if key.ProfileID == id {
				s.set(nil)
			}
		}
		sh.mu.Unlock()
	}
}

// leave marks a slot that is no longer in the cache, so that the Sources that
// still point to it look for the one that is.
func (s *slot) leave() {
	s.mu.Lock()
	s.gone = true
	s.hot.Store(nil)
	s.cur.Store(nil) // the sweeper may hold on to the slot for a while yet
	s.mu.Unlock()
}

func (s *slot) hasLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

func (s *slot) unlink() {
	s.prev.next, s.next.prev = s.next, s.prev
}

func (s *slot) linkAfter(at *slot) {
	s.prev, s.next = at, at.next
	at.next.prev = s
	at.next = s
}
