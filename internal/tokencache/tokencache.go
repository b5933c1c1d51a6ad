// Package tokencache keeps access tokens in memory, one entry for each grant.
//
// A [Cache] holds a bounded number of entries. When it is full, the least
// recently used makes room for a new one: exactly so in a small cache, nearly
// so in a large one. An evicted entry keeps no token; a caller that still has
// it asks the Cache for the one that took its place.
//
// Most calls ask for a token that was asked for a moment ago. For those an
// entry has a hot token, which [Entry.Hot] returns after a single read of
// memory: no lock, no allocation, and no look at the clock. A token is made
// hot only while it needs no renewal and has longer to live than a tick, and
// only if it was asked for before within the same tick. All that is hot is
// taken back at each tick, so that the next caller looks at the clock again.
// No timer runs while nothing is hot.
//
// The package obtains no tokens. Those who do say when a token ends and when
// to renew it, tell the entry while a renewal is under way, and may keep what
// they remember of the grant in the entry's memo, which means nothing here.
package tokencache

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// A Key says whose tokens an entry holds.
type Key struct {
	ProfileID string
	User      string // empty for an application
}

// A Cache holds entries by key, a bounded number of them. Its methods may be
// called by many goroutines at once.
type Cache struct {
	// Now is the wall clock. It may be replaced before the Cache is used.
	Now func() time.Time

	seed    maphash.Seed
	shards  []shard
	sweeper sweeper
}

// A shard holds the entries of some of the keys, under a lock of its own.
type shard struct {
	mu       sync.Mutex
	entries  map[Key]*Entry
	used     Entry // head of the ring: next is the most recently used
	limit    int
	inserted uint32 // how many entries, until now

	// To move an entry to the front touches two others that are not in the
	// processor's cache. So a young entry, after whose last move at most this
	// many others were inserted, stays where it is when it is used, and gets a
	// second chance when it is the last.
	young uint32

	_ [64]byte // keep neighbours' locks off one cache line
}

// DefaultSize is how many entries a Cache holds whose size is not given.
const DefaultSize = 10_000

const manyShards = 64

// New returns a Cache for that many entries, or [DefaultSize] if size is 0 or
// less.
func New(size int) *Cache {
	if size <= 0 {
		size = DefaultSize
	}
	n := 1
	if size >= 64*manyShards {
		n = manyShards // small caches are exact, large ones are quick
	}
	c := &Cache{Now: time.Now, seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.entries = make(map[Key]*Entry)
		sh.used.next, sh.used.prev = &sh.used, &sh.used
		sh.limit = size / n
		if n > 1 {
			sh.young = uint32(sh.limit / 16)
		}
	}
	return c
}

func (c *Cache) shard(key Key) *shard {
	if len(c.shards) == 1 {
		return &c.shards[0]
	}
	return &c.shards[maphash.Comparable(c.seed, key)%uint64(len(c.shards))]
}

// Entry returns the entry of a key, which counts as a use of it. If there is
// none it makes one without a token, and evicts another if there is no room.
func (c *Cache) Entry(key Key) *Entry {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entries[key]
	if e != nil {
		if sh.young > 0 && sh.inserted-e.movedAt <= sh.young {
			e.referenced = true
		} else if sh.used.next != e {
			sh.toFront(e)
		}
		return e
	}
	if len(sh.entries) >= sh.limit {
		last := sh.used.prev
		for last.referenced {
			sh.toFront(last)
			last = sh.used.prev
		}
		delete(sh.entries, last.key)
		last.unlink()
		last.evict()
	}
	sh.inserted++
	e = &Entry{key: key, movedAt: sh.inserted}
	sh.entries[key] = e
	e.linkAfter(&sh.used)
	return e
}

func (sh *shard) toFront(e *Entry) {
	e.unlink()
	e.linkAfter(&sh.used)
	e.referenced, e.movedAt = false, sh.inserted
}

// Peek returns the entry of a key, or nil if there is none. It does not count
// as a use.
func (c *Cache) Peek(key Key) *Entry {
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.entries[key]
}

// OfProfile returns the entries of all keys with that profile, in no
// particular order. It does not count as a use of them.
func (c *Cache) OfProfile(id string) []*Entry {
	var list []*Entry
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		for key, e := range sh.entries {
			if key.ProfileID == id {
				list = append(list, e)
			}
		}
		sh.mu.Unlock()
	}
	return list
}

// Len returns how many entries there are.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		n += len(sh.entries)
		sh.mu.Unlock()
	}
	return n
}

// Ready returns the token of an entry if it is valid and nothing is to be done
// about it, and nil otherwise. The entry need not be one of this Cache.
func (c *Cache) Ready(e *Entry) *oauth2.Token {
	if t := e.hot.Load(); t != nil {
		return t
	}
	now := c.Now().UnixNano()
	if now >= e.freshUntil.Load() {
		return nil
	}
	t := e.token.Load()
	if t == nil {
		return nil
	}
	c.MakeHot(e, t, now)
	return &t.Token
}

// IsSweeping reports whether a timer runs, to take back what is hot.
func (c *Cache) IsSweeping() bool { return c.sweeper.isRunning() }

// Close takes back what is hot. From then on no token stays hot, and no timer
// runs; all else goes on as before.
func (c *Cache) Close() { c.sweeper.close() }
