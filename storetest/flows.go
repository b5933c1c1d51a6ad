package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
)

var flowChecks = []check{
	{"FlowFields", flowFields},
	{"FlowStrings", flowStrings},
	{"FlowIdentifiers", flowIdentifiers},
	{"FlowNotFound", flowNotFound},
	{"FlowTakenOnce", flowTakenOnce},
	{"FlowExpired", flowExpired},
	{"FlowExpires", flowExpires},
	{"FlowManyExpired", flowManyExpired},
	{"FlowAmongMany", flowAmongMany},
	{"FlowToTheLast", flowToTheLast},
	{"FlowAgain", flowAgain},
	{"FlowOwnership", flowOwnership},
	{"FlowContextEnded", flowContextEnded},
}

// newFlow returns a flow with every field filled, good for an hour.
func newFlow(id string, seed int) *authprofile.Flow {
	f := new(authprofile.Flow)
	fill(reflect.ValueOf(f).Elem(), "Flow", seed)
	f.ID = id
	f.Expires = time.Now().In(berlin).Add(time.Hour)
	return f
}

// stored returns f as it must come back.
func stored(f *authprofile.Flow) *authprofile.Flow {
	c := clone(f)
	c.State, c.URL = "", ""
	return c
}

func mustPutFlow(t tb, s authprofile.Store, f *authprofile.Flow) {
	t.Helper()
	before := clone(f)
	if err := s.PutFlow(t.Context(), f); err != nil {
		t.Fatalf("PutFlow(%q): got error %v, want none", f.ID, err)
	}
	if d := diff(f, before); d != "" {
		t.Fatalf("the argument after PutFlow: %s", d)
	}
}

func mustTakeFlow(t tb, s authprofile.Store, want *authprofile.Flow) *authprofile.Flow {
	t.Helper()
	got, err := s.TakeFlow(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("TakeFlow(%q): got error %v, want none", want.ID, err)
	}
	if d := diffStored(got, want); d != "" {
		t.Fatalf("TakeFlow(%q): %s", want.ID, d)
	}
	return got
}

func mustNotTakeFlow(t tb, s authprofile.Store, id string) {
	t.Helper()
	if f, err := s.TakeFlow(t.Context(), id); f != nil || !isNotFound(err) {
		t.Fatalf("TakeFlow(%q): got error %v, want ErrNotFound alone, and no flow", id, err)
	}
}

// flowFields: every field is kept but State and URL, alone and together.
func flowFields(t tb, s authprofile.Store) {
	full := newFlow("full", 1)
	mustPutFlow(t, s, full)
	empty := &authprofile.Flow{ID: "empty", Expires: time.Now().Add(time.Hour)}
	mustPutFlow(t, s, empty)
	bare := newFlow("bare", 1)
	makeEmpty(reflect.ValueOf(bare).Elem())
	mustPutFlow(t, s, bare)
	mustTakeFlow(t, s, stored(full))
	mustTakeFlow(t, s, stored(empty))
	mustTakeFlow(t, s, stored(bare))

	for _, sf := range reflect.VisibleFields(reflect.TypeFor[authprofile.Flow]()) {
		if sf.Anonymous {
			continue
		}
		f := new(authprofile.Flow)
		fill(reflect.ValueOf(f).Elem().FieldByIndex(sf.Index), sf.Name, 1)
		f.ID, f.Expires = "only "+sf.Name, time.Now().Add(time.Hour)
		mustPutFlow(t, s, f)
		mustTakeFlow(t, s, stored(f))
	}
}

func flowStrings(t tb, s authprofile.Store) {
	for i, text := range awkward() {
		f := newFlow("", 1)
		eachString(reflect.ValueOf(f).Elem(), func(v reflect.Value) { v.SetString(text) })
		f.ID = strconv.Itoa(i)
		f.ProfileID, f.User = "p", "u"
		mustPutFlow(t, s, f)
		mustTakeFlow(t, s, stored(f))
	}
}

// flowIdentifiers: compared byte by byte; the profile and the user come back
// as they were.
func flowIdentifiers(t tb, s authprofile.Store) {
	ids := append(identifiers(), strings.Repeat("f", 255), strings.Repeat("f", 254), strings.Repeat("f", 254)+" ")
	var all []*authprofile.Flow
	for i, id := range ids {
		f := newFlow(id, i)
		f.ProfileID, f.User = id, id
		mustPutFlow(t, s, f)
		all = append(all, stored(f))
	}
	for _, f := range all {
		mustTakeFlow(t, s, f)
		mustNotTakeFlow(t, s, f.ID)
	}
	all = nil
	for i, id := range longest(255) {
		f := newFlow(id, i)
		f.ProfileID, f.User = id, longest(512)[i]
		mustPutFlow(t, s, f)
		all = append(all, stored(f))
	}
	for _, f := range all {
		mustTakeFlow(t, s, f)
	}
}

func flowNotFound(t tb, s authprofile.Store) {
	mustNotTakeFlow(t, s, "nothing")
	f := newFlow("f", 1)
	mustPutFlow(t, s, f)
	mustNotTakeFlow(t, s, "nothing")
	mustNotTakeFlow(t, s, f.State)
	mustTakeFlow(t, s, stored(f))
	mustNotTakeFlow(t, s, "f")
	f = newFlow("nothing", 2)
	mustPutFlow(t, s, f)
	mustTakeFlow(t, s, stored(f))
}

// flowTakenOnce: of many callers at most one gets it. Since none of these
// fails, one does.
func flowTakenOnce(t tb, s authprofile.Store) {
	for round := range 5 {
		f := newFlow(fmt.Sprintf("f%d", round), round)
		mustPutFlow(t, s, f)
		bystander := newFlow("bystander", round)
		mustPutFlow(t, s, bystander)
		var (
			wg    sync.WaitGroup
			start = make(chan struct{})
			got   = make([]*authprofile.Flow, parallel)
			errs  = make([]error, parallel)
		)
		for i := range parallel {
			wg.Go(func() {
				<-start
				got[i], errs[i] = s.TakeFlow(t.Context(), f.ID)
			})
		}
		close(start)
		wg.Wait()
		takers := 0
		for i, err := range errs {
			switch {
			case err == nil:
				takers++
				if d := diffStored(got[i], stored(f)); d != "" {
					t.Fatalf("TakeFlow: %s", d)
				}
			case !errors.Is(err, authprofile.ErrNotFound):
				t.Fatalf("TakeFlow by many: got error %v, want ErrNotFound for all but one", err)
			}
		}
		if takers != 1 {
			t.Fatalf("TakeFlow by %d callers: %d got it, want 1", parallel, takers)
		}
		mustNotTakeFlow(t, s, f.ID)
		mustTakeFlow(t, s, stored(bystander))
	}
}

func flowExpired(t tb, s authprofile.Store) {
	for i, ago := range []time.Duration{time.Millisecond, time.Second, time.Hour, 24 * 365 * time.Hour} {
		f := newFlow(strconv.Itoa(i), i)
		f.Expires = time.Now().Add(-ago)
		mustPutFlow(t, s, f)
		mustNotTakeFlow(t, s, f.ID)
		mustNotTakeFlow(t, s, f.ID)
	}
}

// flowExpires: a flow that had not expired when it was put is gone once it has,
// and one that expires later is there.
func flowExpires(t tb, s authprofile.Store) {
	other := newFlow("other", 2)
	mustPutFlow(t, s, other)
	f := newFlow("f", 1)
	f.Expires = time.Now().Add(100 * time.Millisecond)
	mustPutFlow(t, s, f)
	timer := time.NewTimer(time.Until(f.Expires) + 10*time.Millisecond)
	defer timer.Stop()
	<-timer.C
	mustNotTakeFlow(t, s, f.ID)
	mustTakeFlow(t, s, stored(other))
}

// flowManyExpired: flows that have expired may be forgotten, others not.
func flowManyExpired(t tb, s authprofile.Store) {
	var good []*authprofile.Flow
	for i := range 150 {
		f := newFlow(fmt.Sprintf("f%03d", (i*89)%150), i)
		if i%5 == 0 {
			good = append(good, stored(f))
		} else {
			f.Expires = time.Now().Add(-time.Duration(i) * time.Hour)
		}
		mustPutFlow(t, s, f)
	}
	for _, f := range good {
		mustTakeFlow(t, s, f)
	}
}

// flowAmongMany: a flow is kept until it expires, however long that is, and
// however many others are put, taken and expire meanwhile.
func flowAmongMany(t tb, s authprofile.Store) {
	const day = 24 * time.Hour
	var first []*authprofile.Flow
	for i, life := range []time.Duration{time.Minute, time.Hour, day, 30 * day, 365 * day, 100 * 365 * day} {
		f := newFlow(fmt.Sprintf("first %d", i), i)
		f.Expires = time.Now().In(berlin).Add(life)
		mustPutFlow(t, s, f)
		first = append(first, stored(f))
	}
	other := func(i int) *authprofile.Flow {
		f := &authprofile.Flow{ID: fmt.Sprintf("other %d", i), Expires: time.Now().Add(time.Duration(i+1) * time.Hour)}
		if i%10 == 1 {
			f.Expires = time.Now().Add(-time.Minute)
		}
		return f
	}
	const others = 501
	parallelly(others, func(i int) {
		if err := s.PutFlow(t.Context(), other(i)); err != nil {
			t.Errorf("PutFlow while others put: got error %v, want none", err)
		}
	})
	for i := 0; i < others; i += 10 {
		if f, err := s.TakeFlow(t.Context(), other(i).ID); err != nil {
			t.Fatalf("TakeFlow of one among many: got error %v, want none", err)
		} else if f.ID != other(i).ID {
			t.Fatalf("TakeFlow(%q): got flow %q", other(i).ID, f.ID)
		}
		mustNotTakeFlow(t, s, other(i+1).ID)
	}
	for _, f := range first {
		mustTakeFlow(t, s, f)
	}
}

// flowToTheLast: a flow is kept until it expires, and not only until the
// beginning of the second in which it does.
func flowToTheLast(t tb, s authprofile.Store) {
	const tries = 10
	for range tries {
		next := time.Now().Truncate(time.Second).Add(time.Second)
		if left := time.Until(next); left < 700*time.Millisecond {
			timer := time.NewTimer(left)
			defer timer.Stop()
			<-timer.C
			next = next.Add(time.Second)
		}
		f := newFlow("f", 1)
		f.Expires = next.Add(-50 * time.Millisecond).UTC()
		mustPutFlow(t, s, f)
		got, err := s.TakeFlow(t.Context(), "f")
		if err == nil {
			if d := diffStored(got, stored(f)); d != "" {
				t.Fatalf("TakeFlow: %s", d)
			}
			return
		}
		if left := time.Until(f.Expires); left > 0 || !isNotFound(err) {
			t.Fatalf("TakeFlow, %v before the flow expires: got error %v, want none", left, err)
		}
	}
	// Each flow had expired before the storage answered: it is too slow to
	// tell.
}

// flowAgain: a caller that got an error may put again. What was put last is
// kept, and is taken once.
func flowAgain(t tb, s authprofile.Store) {
	first := newFlow("f", 1)
	first.Expires = time.Now().Add(50 * time.Millisecond)
	mustPutFlow(t, s, first)
	second := newFlow("f", 2)
	mustPutFlow(t, s, second)
	timer := time.NewTimer(time.Until(first.Expires) + 10*time.Millisecond)
	defer timer.Stop()
	<-timer.C
	mustPutFlow(t, s, newFlow("other", 3)) // when a Store may remove what has expired
	mustTakeFlow(t, s, stored(second))
	mustNotTakeFlow(t, s, "f")
}

func flowOwnership(t tb, s authprofile.Store) {
	f := newFlow("f", 1)
	want := stored(f)
	mustPutFlow(t, s, f)
	if f.Expires.Location() != berlin {
		t.Fatalf("the argument after PutFlow: got Expires %v, want it as it was given, in %v", f.Expires, berlin)
	}
	scramble(reflect.ValueOf(f).Elem())
	got := mustTakeFlow(t, s, want)
	scramble(reflect.ValueOf(got).Elem())

	other := newFlow("f", 2)
	want = stored(other)
	mustPutFlow(t, s, other)
	other.Requested = slices.Delete(other.Requested, 0, 1)
	mustTakeFlow(t, s, want)
}

func flowContextEnded(t tb, s authprofile.Store) {
	f := newFlow("f", 1)
	mustPutFlow(t, s, f)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := newFlow("g", 2)
	before := clone(g)
	for name, call := range map[string]func() error{
		"PutFlow":             func() error { return s.PutFlow(ctx, g) },
		"TakeFlow":            func() error { _, err := s.TakeFlow(ctx, "f"); return err },
		"TakeFlow of nothing": func() error { _, err := s.TakeFlow(ctx, "h"); return err },
	} {
		err, ok := returnsSoon(call)
		switch {
		case !ok:
			t.Fatalf("%s after the context has ended: still running after %v", name, soon)
		case err == nil:
			t.Fatalf("%s after the context has ended: got no error", name)
		case name == "TakeFlow" && errors.Is(err, authprofile.ErrNotFound):
			t.Fatalf("%s after the context has ended: got error %v, which is not true", name, err)
		}
	}
	if d := diff(g, before); d != "" {
		t.Fatalf("the argument of a PutFlow that failed: %s", d)
	}
	// Whether that call has taken it or not, no two calls get it.
	first, err := s.TakeFlow(t.Context(), "f")
	if err != nil && !errors.Is(err, authprofile.ErrNotFound) {
		t.Fatalf("TakeFlow: got error %v, want none or ErrNotFound", err)
	}
	if err == nil {
		if d := diffStored(first, stored(f)); d != "" {
			t.Fatalf("TakeFlow: %s", d)
		}
	}
	mustNotTakeFlow(t, s, "f")
}
