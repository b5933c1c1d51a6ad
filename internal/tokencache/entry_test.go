package tokencache

import (
	"sync"
	"testing"
	"time"
)

func TestValid(t *testing.T) {
	now := time.Now()
	at := now.UnixNano()
	ended, end := token(now, 0, 0), token(now, -time.Hour, 1)
	for _, tt := range []struct {
		name     string
		set      *Token
		rejected string
		want     bool
	}{
		{"none", nil, "", false},
		{"at its end", ended, "", false},
		{"just before, and due", end, "", true},
		{"rejected", end, "at-1", false},
		{"another is rejected", end, "at-0", true},
	} {
		e := NewEntry()
		e.Set(tt.set)
		want := tt.set
		if !tt.want {
			want = nil
		}
		if got := e.Valid(at, tt.rejected); got != want {
			t.Errorf("%s: got %v, want %v", tt.name, got, want)
		}
		if got := e.Current(); got != tt.set {
			t.Errorf("%s: got current token %v, want %v", tt.name, got, tt.set)
		}
	}
}

func TestIsDue(t *testing.T) {
	now := time.Now()
	at := now.UnixNano()
	for _, tt := range []struct {
		name     string
		renewIn  time.Duration
		nextTry  int64
		renewing bool
		want     bool
	}{
		{"early", 1, 0, false, false},
		{"now", 0, 0, false, true},
		{"now, after a failure", -time.Hour, at, false, true},
		{"before the next try", -time.Hour, at + 1, false, false},
		{"under way", -time.Hour, 0, true, false},
	} {
		e, tok := NewEntry(), token(now, tt.renewIn, time.Hour)
		e.Set(tok)
		e.SetNextTry(tt.nextTry)
		e.SetRenewing(tt.renewing)
		if got := e.IsDue(tok, at); got != tt.want {
			t.Errorf("%s: got due %t, want %t", tt.name, got, tt.want)
		}
	}

	e, tok := NewEntry(), token(now, 0, time.Hour)
	e.SetNextTry(Never)
	e.Set(tok)
	if !e.IsDue(tok, at) {
		t.Error("a token that came after a failure waits for what was said before it, want it to be due")
	}
	never := &Token{RenewAt: Never, End: Never}
	e.Set(never)
	if at := now.Add(200 * 365 * 24 * time.Hour).UnixNano(); e.IsDue(never, at) || e.Valid(at, "") != never {
		t.Error("a token without an end is due or has ended, want neither")
	}
}

func TestMemo(t *testing.T) {
	e := NewEntry()
	if got := e.Memo(); got != nil {
		t.Errorf("got memo %v of a new entry, want none", got)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				e.UpdateMemo(func(memo any) any {
					n, _ := memo.(int)
					return n + 1
				})
				e.Memo()
			}
		})
	}
	wg.Wait()
	e.Set(new(Token))
	e.Set(nil)
	if got := e.Memo(); got != 800 {
		t.Errorf("got memo %v, want 800", got)
	}
}
