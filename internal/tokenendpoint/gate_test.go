package tokenendpoint

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

const address = "https://idp.example.com/token"

// closed returns a channel that is.
func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// acquired is what became of a call to Acquire.
type acquired struct {
	done    bool
	release func()
	err     error
}

// has reports whether it has a place that was not given back.
func (a *acquired) has() bool { return a.done && a.release != nil }

// giveBack gives the place back, and lets a call that waits take it.
func (a *acquired) giveBack() {
	a.release()
	a.release = nil
	synctest.Wait()
}

// acquire begins n calls to Acquire, and waits until each has returned or
// waits.
func acquire(l *Limiter, n int, address string, urgent, closing <-chan struct{}) []*acquired {
	var list []*acquired
	for range n {
		a := new(acquired)
		list = append(list, a)
		go func() {
			a.release, a.err = l.Acquire(address, urgent, closing)
			a.done = true
		}()
	}
	synctest.Wait()
	return list
}

// checkHave checks how many of the calls have got a place, while the others
// wait.
func checkHave(t *testing.T, calls []*acquired, want int) {
	t.Helper()
	got := 0
	for _, a := range calls {
		if a.err != nil {
			t.Errorf("got error %v, want a place", a.err)
		} else if a.done {
			got++
		}
	}
	if got != want {
		t.Errorf("got %d places, want %d", got, want)
	}
}

// releaseAll gives the places back, one after the other, of those calls too
// that get theirs meanwhile; then nothing is kept.
func releaseAll(t *testing.T, l *Limiter, calls ...[]*acquired) {
	t.Helper()
	for again := true; again; {
		again = false
		for _, list := range calls {
			for _, a := range list {
				if a.has() {
					a.giveBack()
					again = true
				}
			}
		}
	}
	for _, list := range calls {
		for _, a := range list {
			if !a.done {
				t.Error("a call still waits, though all places are free")
			}
		}
	}
	if got := len(l.byHost); got != 0 {
		t.Errorf("got %d hosts that are kept though none has users, want 0", got)
	}
}

func TestRequestsAtATime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		urgent func() chan struct{}
		want   int
	}{
		{"urgent", closed, 64},
		{"background", func() chan struct{} { return make(chan struct{}) }, 48},
		{"background, and never urgent", func() chan struct{} { return nil }, 48},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := new(Limiter)
				calls := acquire(l, 100, address, tt.urgent(), nil)
				checkHave(t, calls, tt.want)

				// Each place that is given back goes to one that waits.
				for i := range 3 {
					calls[slices.IndexFunc(calls, (*acquired).has)].giveBack()
					checkHave(t, calls, tt.want+i+1)
				}
				releaseAll(t, l, calls)
			})
		})
	}
}

// Requests for which a caller waits find places, however many there are in the
// background, and then leave none to them.
func TestUrgentRequestsFindPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(Limiter)
		background := acquire(l, 1000, address, nil, nil)
		urgent := acquire(l, 17, address, closed(), nil)
		checkHave(t, background, 48)
		checkHave(t, urgent, 16)
		releaseAll(t, l, background, urgent)
	})
	synctest.Test(t, func(t *testing.T) {
		l := new(Limiter)
		urgent := acquire(l, 64, address, closed(), nil)
		background := acquire(l, 1, address, nil, nil)
		checkHave(t, urgent, 64)
		checkHave(t, background, 0)
		releaseAll(t, l, background, urgent)
	})
}

// A request that becomes urgent while it waits gets any place.
func TestRequestBecomesUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(Limiter)
		background := acquire(l, 48, address, nil, nil)
		becomes := make(chan struct{})
		waiting := acquire(l, 5, address, becomes, nil)
		checkHave(t, waiting, 0)
		close(becomes)
		synctest.Wait()
		checkHave(t, waiting, 5)

		// They have not used up places in the background.
		background[0].giveBack()
		checkHave(t, acquire(l, 1, address, nil, nil), 1)
	})
}

func TestHostsHavePlacesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(Limiter)
		var all [][]*acquired
		for i, other := range []string{address, "https://other.example.com/token", "https://idp.example.com:8443/token", "no address:"} {
			calls := acquire(l, 100, other, nil, nil)
			checkHave(t, calls, 48)
			all = append(all, calls)
			if got := len(l.byHost); got != i+1 {
				t.Errorf("got %d hosts, want %d", got, i+1)
			}
		}
		same := acquire(l, 1, "https://idp.example.com/another", nil, nil)
		checkHave(t, same, 0)
		releaseAll(t, l, append(all, same)...)
	})
}

func TestClosingEndsTheWait(t *testing.T) {
	for _, isUrgent := range []bool{false, true} {
		t.Run(fmt.Sprint("urgent: ", isUrgent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := new(Limiter)
				closing := make(chan struct{})
				holders := acquire(l, 48, address, nil, closing)
				holders = append(holders, acquire(l, 16, address, closed(), closing)...)
				checkHave(t, holders, 64)
				var urgent chan struct{}
				if isUrgent {
					urgent = closed()
				}
				waiting := acquire(l, 10, address, urgent, closing)
				checkHave(t, waiting, 0)
				close(closing)
				synctest.Wait()
				for _, a := range waiting {
					if !errors.Is(a.err, ErrClosed) || a.release != nil {
						t.Errorf("got release %t, error %v, want none and ErrClosed", a.release != nil, a.err)
					}
				}
				releaseAll(t, l, holders, waiting)
			})
		})
	}

	// One that has a place in the background already gives it back.
	synctest.Test(t, func(t *testing.T) {
		l := new(Limiter)
		closing := make(chan struct{})
		holders := acquire(l, 64, address, closed(), nil)
		acquire(l, 10, address, nil, closing)
		close(closing)
		synctest.Wait()
		if got := len(l.byHost["idp.example.com"].background); got != 0 {
			t.Errorf("got %d places in the background that are taken, want 0", got)
		}
		releaseAll(t, l, holders)
	})
}
