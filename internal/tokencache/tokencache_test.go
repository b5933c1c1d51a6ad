package tokencache

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func user(i int) Key { return Key{ProfileID: "crm", User: fmt.Sprint(i)} }

// use uses the entries of users from to to-1, and returns them.
func use(c *Cache, from, to int) []*Entry {
	var list []*Entry
	for i := from; i < to; i++ {
		list = append(list, c.Entry(user(i)))
	}
	return list
}

// token returns one that is to be renewed in a given time, and ends in
// another.
func token(now time.Time, renewIn, endIn time.Duration) *Token {
	t := &Token{RenewAt: now.Add(renewIn).UnixNano(), End: now.Add(endIn).UnixNano()}
	t.AccessToken = "at-1"
	return t
}

func TestLeastRecentlyUsedIsEvicted(t *testing.T) {
	c := New(3)
	first := use(c, 0, 3)
	c.Entry(user(0))
	c.Peek(user(1)) // is no use
	c.OfProfile("crm")
	fourth := c.Entry(user(3))
	for i, want := range []*Entry{first[0], nil, first[2], fourth} {
		if got := c.Peek(user(i)); got != want {
			t.Errorf("user %d: got entry %p, want %p", i, got, want)
		}
	}
	for i, want := range []bool{false, true, false} {
		if got := first[i].IsEvicted(); got != want {
			t.Errorf("user %d: got evicted %t, want %t", i, got, want)
		}
	}
	if got := c.Len(); got != 3 {
		t.Errorf("got %d entries, want 3", got)
	}
	if got := c.Entry(user(1)); got == first[1] {
		t.Error("got the evicted entry, want another")
	}
	if got := c.Entry(user(3)); got != fourth || got.Key() != user(3) {
		t.Errorf("got entry %p of %v, want %p of %v", got, got.Key(), fourth, user(3))
	}
}

func TestSize(t *testing.T) {
	for _, tt := range []struct{ size, least, most int }{
		{1, 1, 1},
		{100, 100, 100},
		{4000, 4000, 4000},
		{5000, 4900, 5000}, // in shards of one size
		{0, 9900, 10_000},
		{-1, 9900, 10_000},
	} {
		c := New(tt.size)
		use(c, 0, 4*tt.most)
		if got := c.Len(); got < tt.least || got > tt.most {
			t.Errorf("size %d: got %d entries, want %d to %d", tt.size, got, tt.least, tt.most)
		}
	}
}

// sameShard returns users whose entries are in one shard of a large cache.
func sameShard(c *Cache, n int) []Key {
	var list []Key
	for i := 0; len(list) < n; i++ {
		if k := user(i); c.shard(k) == c.shard(user(0)) {
			list = append(list, k)
		}
	}
	return list
}

// What is used while it is young is not moved, but has a second chance.
func TestSecondChance(t *testing.T) {
	c := New(64 * manyShards)
	keys := sameShard(c, 300)
	used, unused := keys[0], keys[1]
	first, second := c.Entry(used), c.Entry(unused)
	c.Entry(used)
	for _, k := range keys[2:66] { // as many as there is room for
		c.Entry(k)
	}
	if !second.IsEvicted() {
		t.Error("an entry that was used once is still there, want it evicted")
	}
	if first.IsEvicted() {
		t.Error("an entry that was used again is evicted, want a second chance")
	}
	for _, k := range keys[66:200] {
		c.Entry(k)
	}
	if !first.IsEvicted() {
		t.Error("an entry that was not used any more is still there, want no third chance")
	}
}

// What is in use stays in a large cache, however many others come and go, and
// so does what was used last before many come.
func TestLargeCacheKeepsWhatIsInUse(t *testing.T) {
	c := New(5000)
	kept := use(c, 0, 50)
	check := func(after int) {
		t.Helper()
		if got := use(c, 0, 50); !slices.Equal(got, kept) {
			t.Fatalf("after %d others: got other entries than before", after)
		}
	}
	for i := 100; i < 20_000; i += 100 {
		use(c, i, i+100)
		if i%1000 == 0 {
			check(i)
		}
	}
	use(c, 17_500, 20_000) // all of them still there
	check(20_000)
	use(c, 20_000, 22_000)
	check(22_000)
}

func TestOfProfile(t *testing.T) {
	for _, size := range []int{100, 5000} {
		c := New(size)
		want := make(map[*Entry]bool)
		for i := range 20 {
			want[c.Entry(user(i))] = true
			c.Entry(Key{ProfileID: "crm2", User: fmt.Sprint(i)})
			c.Entry(Key{ProfileID: fmt.Sprint(i), User: "crm"})
		}
		got := c.OfProfile("crm")
		for _, e := range got {
			if !want[e] {
				t.Errorf("size %d: got the entry of %v", size, e.Key())
			}
			delete(want, e)
		}
		if len(got) != 20 || len(want) != 0 {
			t.Errorf("size %d: got %d entries without %d that belong to the profile, want 20 without 0", size, len(got), len(want))
		}
		if got := c.OfProfile("none"); len(got) != 0 {
			t.Errorf("size %d: got %d entries of a profile without any, want 0", size, len(got))
		}
	}
}

// A caller may keep an entry when it is evicted. Its token is gone, and none
// becomes hot in it: another entry is told when the grant ends.
func TestEvictedEntryKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1)
		e := c.Entry(user(0))
		tok := token(time.Now(), time.Hour, 2*time.Hour)
		e.Set(tok)
		e.UpdateMemo(func(any) any { return "noted" })
		c.Ready(e)
		if c.Ready(e); e.Hot() == nil {
			t.Fatal("got no hot token")
		}
		c.Entry(user(1))
		check := func(when string) {
			t.Helper()
			if got := e.Hot(); got != nil {
				t.Errorf("%s: got a hot token, want none", when)
			}
			if got := e.Current(); got != nil {
				t.Errorf("%s: got a token, want none", when)
			}
			if got := c.Ready(e); got != nil {
				t.Errorf("%s: got a token that is ready, want none", when)
			}
		}
		check("evicted")
		for range 3 {
			c.MakeHot(e, tok, time.Now().UnixNano())
		}
		check("made hot")
		if got := e.Memo(); got != "noted" {
			t.Errorf("got memo %v, want that of before, for a renewal under way", got)
		}

		// One that is put into it all the same is not served from there.
		e.Set(tok)
		for range 3 {
			c.MakeHot(e, tok, time.Now().UnixNano())
		}
		if got := e.Hot(); got != nil {
			t.Error("set after it was evicted: got a hot token, want none")
		}
		time.Sleep(tick)
		synctest.Wait()
		if c.IsSweeping() {
			t.Error("got a timer that runs, want none")
		}
	})
}

func TestAllocations(t *testing.T) {
	c := New(100)
	start := time.Now()
	var ahead time.Duration
	c.Now = func() time.Time { return start.Add(ahead) }
	e := c.Entry(user(0))
	key := e.Key()
	e.Set(token(start, 1000*time.Hour, 2000*time.Hour))
	c.Ready(e)
	c.Ready(e)
	for _, tt := range []struct {
		name string
		call func()
	}{
		{"Hot", func() { e.Hot() }},
		{"Ready", func() { c.Ready(e) }},
		{"Ready after a tick", func() { ahead += tick; c.Ready(e) }},
		{"Entry", func() { c.Entry(key) }},
		{"Peek", func() { c.Peek(key) }},
	} {
		if got := testing.AllocsPerRun(100, tt.call); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", tt.name, got)
		}
	}
	c.Close()
}

// A million entries are kept by some: each takes no more memory than this.
func TestEntryIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Entry{}); got > 128 {
		t.Errorf("got %d bytes, want 128 at most", got)
	}
}

// Tokens are replaced, read and evicted at once. What was replaced before a
// reader asks is not served to it.
func TestManyAtOnce(t *testing.T) {
	c := New(3)
	defer c.Close()
	var latest [4]struct {
		mu sync.Mutex
		n  int64
	}
	var wg sync.WaitGroup
	for i := range latest {
		wg.Go(func() { // as the one that renews the token
			l := &latest[i]
			for n := int64(1); n <= 2000; n++ {
				tok := token(time.Now(), time.Hour, time.Hour)
				tok.ExpiresIn = n
				c.Entry(user(i)).Set(tok)
				l.mu.Lock()
				l.n = n
				l.mu.Unlock()
			}
		})
		for range 2 {
			wg.Go(func() {
				l := &latest[i]
				for range 2000 {
					l.mu.Lock()
					least := l.n
					l.mu.Unlock()
					if got := c.Ready(c.Entry(user(i))); got != nil && got.ExpiresIn < least {
						t.Errorf("got token %d, want %d or a later one", got.ExpiresIn, least)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

func BenchmarkHot(b *testing.B) {
	c := New(0)
	defer c.Close()
	c.Now = func() time.Time { return time.Unix(0, 0) }
	e := c.Entry(user(0))
	e.Set(token(c.Now(), time.Hour, time.Hour))
	c.Ready(e)
	b.Run("Hot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Hot()
		}
	})
	b.Run("Hot at once", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				e.Hot()
			}
		})
	})
	b.Run("Ready", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Ready(e)
		}
	})
	key := e.Key()
	b.Run("Entry and Ready", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Ready(c.Entry(key))
		}
	})
}
