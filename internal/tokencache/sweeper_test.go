package tokencache

import (
	"testing"
	"testing/synctest"
	"time"
)

// inBubble runs f with a clock of its own and an entry that has a token of an
// hour, at the beginning of a tick.
func inBubble(t *testing.T, f func(t *testing.T, c *Cache, e *Entry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := New(10)
		defer c.Close()
		if now := time.Now().UnixNano(); now%int64(tick) != 0 {
			time.Sleep(tick - time.Duration(now%int64(tick)))
		}
		e := c.Entry(user(0))
		e.Set(token(time.Now(), time.Hour, time.Hour))
		f(t, c, e)
	})
}

// isHot asks for a token twice, and reports whether that has made it hot.
func isHot(c *Cache, e *Entry) bool {
	c.Ready(e)
	c.Ready(e)
	return e.Hot() != nil
}

func TestHotWhenAskedForTwiceWithinATick(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
		want := &e.Current().Token
		for i, hot := range []bool{false, true, true} {
			if got := c.Ready(e); got != want {
				t.Errorf("call %d: got token %v, want %v", i, got, want)
			}
			if got := e.Hot() != nil; got != hot {
				t.Errorf("call %d: got hot %t, want %t", i, got, hot)
			}
			if got := c.IsSweeping(); got != hot {
				t.Errorf("call %d: got a timer that runs %t, want %t", i, got, hot)
			}
			time.Sleep(tick / 5)
		}
		if got := e.Hot(); got != want {
			t.Errorf("got hot token %v, want %v", got, want)
		}
	})
	inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
		for range 20 {
			if c.Ready(e) == nil {
				t.Fatal("got no token")
			}
			if e.Hot() != nil || c.IsSweeping() {
				t.Fatal("a token that is asked for once in a tick is hot, want it not to be")
			}
			time.Sleep(tick)
		}
	})
}

// What is hot is served for up to a tick without a look at the clock: it must
// be good for so long, and need no renewal.
func TestHotWhenGoodForAWholeTick(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		renewIn, endIn, nextTry time.Duration
		renewing                bool
		want                    bool
	}{
		{"good for an hour", time.Hour, time.Hour, 0, false, true},
		{"ends after a tick", time.Hour, tick + 1, 0, false, true},
		{"ends at the tick", time.Hour, tick, 0, false, false},
		{"is to be renewed after a tick", tick + 1, time.Hour, 0, false, true},
		{"is to be renewed at the tick", tick, time.Hour, 0, false, false},
		{"is to be renewed", -time.Minute, time.Hour, 0, false, false},
		{"is being renewed", -time.Minute, time.Hour, 0, true, true},
		{"is being renewed, and ends at the tick", -time.Minute, tick, 0, true, false},
		{"could not be renewed", -time.Minute, time.Hour, time.Minute, false, true},
		{"could not be renewed, next try at the tick", -time.Minute, time.Hour, tick, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
				now := time.Now()
				tok := token(now, tt.renewIn, tt.endIn)
				e.Set(tok)
				e.SetNextTry(now.Add(tt.nextTry).UnixNano())
				e.SetRenewing(tt.renewing)
				c.MakeHot(e, tok, now.UnixNano())
				c.MakeHot(e, tok, now.UnixNano())
				if got := e.Hot() != nil; got != tt.want {
					t.Errorf("got hot %t, want %t", got, tt.want)
				}
			})
		})
	}
}

// Ready leaves to others what needs more than a look.
func TestReadyIsValidAndNotDue(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
		for _, tt := range []struct {
			name           string
			renewIn, endIn time.Duration
			want           bool
		}{
			{"fresh", 1, time.Hour, true},
			{"due", 0, time.Hour, false},
			{"at its end", time.Hour, 0, false},
			{"just before its end", time.Hour, 1, true},
		} {
			e.Set(token(time.Now(), tt.renewIn, tt.endIn))
			if got := c.Ready(e) != nil; got != tt.want {
				t.Errorf("%s: got a token %t, want %t", tt.name, got, tt.want)
			}
		}
		e.Set(nil)
		if got := c.Ready(e); got != nil {
			t.Errorf("without a token: got %v, want none", got)
		}
	})
}

// A token that was replaced does not become hot, and is no longer hot.
func TestHotIsTheCurrentToken(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
		before := e.Current()
		if !isHot(c, e) {
			t.Fatal("got no hot token")
		}
		e.Set(token(time.Now(), time.Hour, time.Hour))
		if got := e.Hot(); got != nil {
			t.Errorf("got hot token %v after it was replaced, want none", got)
		}
		c.MakeHot(e, before, time.Now().UnixNano())
		if got := e.Hot(); got != nil {
			t.Errorf("got hot token %v, want none, as it is not the current one", got)
		}
		if !isHot(c, e) || e.Hot() != &e.Current().Token {
			t.Errorf("got hot token %v, want the current one", e.Hot())
		}
	})
}

func TestSweptAtEachTick(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
		own := NewEntry() // belongs to no Cache, and is swept all the same
		own.Set(token(time.Now(), time.Hour, time.Hour))
		for round := range 3 {
			if !isHot(c, e) {
				t.Fatalf("round %d: got no hot token", round)
			}
			time.Sleep(tick / 2)
			if !isHot(c, own) {
				t.Fatalf("round %d: got no hot token of an entry without a Cache", round)
			}
			time.Sleep(tick/2 - time.Nanosecond)
			synctest.Wait()
			if e.Hot() == nil || own.Hot() == nil || !c.IsSweeping() {
				t.Errorf("round %d: taken back before the tick", round)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if e.Hot() != nil || own.Hot() != nil {
				t.Errorf("round %d: still hot after the tick", round)
			}
			if c.IsSweeping() {
				t.Errorf("round %d: a timer runs though nothing is hot", round)
			}
			time.Sleep(time.Minute)
		}
	})
}

// The wall clock jumps, as when a machine wakes up. A tick later no token is
// served that has ended meanwhile.
func TestWallClockJumps(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
		var ahead time.Duration
		c.Now = func() time.Time { return time.Now().Add(ahead) }
		if !isHot(c, e) {
			t.Fatal("got no hot token")
		}
		ahead = time.Hour
		time.Sleep(tick)
		synctest.Wait()
		if got := c.Ready(e); got != nil {
			t.Errorf("got token %v after its end, want none", got)
		}
	})
}

func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache, e *Entry) {
		if !isHot(c, e) {
			t.Fatal("got no hot token")
		}
		c.Close()
		for range 3 {
			if e.Hot() != nil || c.IsSweeping() {
				t.Error("a token is hot, or a timer runs, after Close")
			}
			if c.Ready(e) == nil {
				t.Error("got no token after Close, want that of before")
			}
		}
		c.Close()
	})
	New(1).Close() // one that was never used
}
