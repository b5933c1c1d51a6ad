package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
)

// How often a survey is made, how long it may take, and what it keeps.
const (
	surveyPart  = 20 * time.Second       // what each of its three parts may take
	surveyPause = time.Minute            // between the end of one survey and the next
	surveyRest  = 20                     // times what the last one took: it passes before the next, too
	surveySmall = 100 * time.Millisecond // a store that takes less can be counted while a person waits
	surveyWait  = 250 * time.Millisecond // what a page waits at most
	surveyPage  = 200                    // records that are read at once
	surveyDays  = 35                     // for which it is counted what ends on each, today included
	soon        = 30 * 24 * time.Hour    // within which an end needs attention
	maxListed   = 20                     // of the soonest ends that are kept
)

// A survey counts what no page can count while a person waits. It does so in the
// background, when a page asks and the last time is long enough ago, and never twice
// at once.
type survey struct {
	manager *authprofile.Manager
	logger  *slog.Logger

	mu      sync.Mutex
	running chan struct{} // closed when the count under way has ended; nil: there is none
	began   time.Time     // the latest
	ended   time.Time     // the latest that has ended; zero: none has
	took    time.Duration // that one
	changes int           // calls of stale
	covered int           // those of them that came before the latest that has ended began
	found   findings
}

func newSurvey(m *authprofile.Manager, logger *slog.Logger) *survey {
	return &survey{manager: m, logger: logger}
}

// findings are what a survey has found. They are not changed afterwards.
type findings struct {
	Counts  part[map[authprofile.Status]int64] // grants by status
	Ends    part[endingGrants]
	Secrets part[endingSecrets]
}

// A part is counted by itself: it is there if others cannot be counted.
type part[T any] struct {
	Value      T
	At         time.Time // when it was counted; zero: never yet
	Failed     time.Time // when it could not be counted whole after that; zero: it could
	Partial    bool      // Value is of some records only
	Unreadable int       // records that could not be read
}

// endingGrants are the grants that end in the days to come, but for those that have
// ended already and wait for their user.
type endingGrants struct {
	First   time.Time       // the beginning of the first day
	Days    [surveyDays]int // how many end on each
	Soon    int             // how many end soon
	Past    int             // how many have an end that has passed, and are not known to have ended
	Soonest []endingGrant
}

type endingGrant struct {
	authprofile.GrantKey
	Ends   time.Time
	EndsBy string
}

// endingSecrets are the profiles whose client secret ends soon, or has ended.
type endingSecrets struct {
	Profiles int64 // all there are
	Ended    int
	Soon     int
	Soonest  []endingSecret
}

type endingSecret struct {
	ProfileID, Name string
	Expires         time.Time
}

// stale says that something was changed, so that the next page asks for a new count.
func (s *survey) stale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
}

// look returns what is known, and sees to it that it is counted anew when it is time.
// It waits for the very first count, and after a change for that of a small store, but
// for a moment only.
func (s *survey) look(ctx context.Context) findings {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted, now := s.changes, time.Now()
	s.beginIfDue()
	latest := now.Add(surveyWait)
	if s.ended.IsZero() {
		latest = s.began.Add(surveyWait)
	}
	for s.running != nil && (s.ended.IsZero() || s.covered < wanted && s.took < surveySmall) {
		left := time.Until(latest)
		if left <= 0 || ctx.Err() != nil {
			break
		}
		s.wait(ctx, s.running, left)
		if s.covered < wanted { // what has ended began before the change
			s.beginIfDue()
		}
	}
	return s.found
}

// wait waits until done is closed, for a time at most. s.mu is held, but not meanwhile.
func (s *survey) wait(ctx context.Context, done <-chan struct{}, most time.Duration) {
	s.mu.Unlock()
	defer s.mu.Lock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// beginIfDue begins to count if it is time for that. s.mu is held.
func (s *survey) beginIfDue() {
	if s.running != nil {
		return
	}
	pause := max(surveyPause, surveyRest*s.took)
	if s.covered < s.changes {
		// A large store is not read all the time because it is changed all the time.
		pause = surveyRest * s.took
		if s.took < surveySmall {
			pause = 0
		}
	}
	if !s.ended.IsZero() && time.Since(s.ended) < pause {
		return
	}
	s.began = time.Now()
	s.running = make(chan struct{})
	go s.count(s.changes)
}

// count counts everything, and leaves each part in s.found as soon as it is there.
func (s *survey) count(changes int) {
	countPart(s, &s.found.Counts, s.countGrants)
	countPart(s, &s.found.Ends, s.countEnds)
	countPart(s, &s.found.Secrets, s.countSecrets)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = time.Now()
	s.took = s.ended.Sub(s.began)
	s.covered = changes
	close(s.running)
	s.running = nil
}

// A reading says how many records were read, how many could not be, and what has put
// an end to it before the last one.
type reading struct {
	read, unreadable int
	failed           error
}

// countPart counts one part. If that fails, what was known before stands. A Store
// that panics is one that has failed: here no server would catch it, and the whole
// program would end.
func countPart[T any](s *survey, p *part[T], count func(context.Context, *T) reading) {
	ctx, cancel := context.WithTimeout(context.Background(), surveyPart)
	defer cancel()
	var value T
	at := time.Now()
	r := func() (r reading) {
		defer func() {
			if p := recover(); p != nil {
				s.logger.Error("the console has panicked", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
				r = reading{failed: errors.New("panic")}
			}
		}()
		return count(ctx, &value)
	}()
	outOfTime := ctx.Err() != nil
	if r.failed != nil {
		s.logger.Warn("the console could not count everything", "error", r.failed.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.failed == nil:
		*p = part[T]{Value: value, At: at, Unreadable: r.unreadable}
	case r.read > 0 && (outOfTime || p.At.IsZero() || p.Partial):
		*p = part[T]{Value: value, At: at, Unreadable: r.unreadable, Partial: true}
		if !outOfTime {
			p.Failed = at
		}
	default:
		p.Failed = at
	}
}

func (s *survey) countGrants(ctx context.Context, counts *map[authprofile.Status]int64) (r reading) {
	*counts, r.failed = s.manager.Count(ctx, "")
	return r
}

func (s *survey) countEnds(ctx context.Context, e *endingGrants) (r reading) {
	now := time.Now()
	e.First = now.UTC().Truncate(24 * time.Hour)
	filter := authprofile.GrantFilter{EndsBefore: e.First.AddDate(0, 0, surveyDays)}
	for after := (authprofile.GrantKey{}); ; {
		list, err := s.manager.ListGrants(ctx, filter, after, surveyPage)
		for _, g := range list {
			e.add(g, now)
		}
		if r.add(len(list), err); r.failed != nil || len(list) < surveyPage {
			return r
		}
		after = list[len(list)-1].GrantKey
	}
}

func (e *endingGrants) add(g *authprofile.Grant, now time.Time) {
	if g.Status == authprofile.StatusNeedsReauthorization {
		return
	}
	if !g.Ends.After(now) {
		e.Past++
		return
	}
	if day := int(g.Ends.Sub(e.First) / (24 * time.Hour)); day < surveyDays {
		e.Days[day]++
	}
	if g.Ends.Sub(now) <= soon {
		e.Soon++
		e.Soonest = insertSoonest(e.Soonest, endingGrant{g.GrantKey, g.Ends, g.EndsBy}, func(g endingGrant) time.Time { return g.Ends })
	}
}

func (s *survey) countSecrets(ctx context.Context, e *endingSecrets) (r reading) {
	now := time.Now()
	for after := ""; ; {
		list, err := s.manager.ListProfiles(ctx, after, surveyPage)
		for _, p := range list {
			e.add(p, now)
		}
		if r.add(len(list), err); r.failed != nil || len(list) < surveyPage {
			e.Profiles += int64(r.unreadable)
			return r
		}
		after = list[len(list)-1].ID
	}
}

func (e *endingSecrets) add(p *authprofile.Profile, now time.Time) {
	e.Profiles++
	if p.SecretExpires.IsZero() || p.SecretExpires.Sub(now) > soon {
		return
	}
	if p.SecretExpires.After(now) {
		e.Soon++
	} else {
		e.Ended++
	}
	e.Soonest = insertSoonest(e.Soonest, endingSecret{p.ID, p.Name, p.SecretExpires}, func(s endingSecret) time.Time { return s.Expires })
}

// insertSoonest inserts x into a list that is sorted by time, and cuts the list to the
// soonest ones.
func insertSoonest[T any](list []T, x T, at func(T) time.Time) []T {
	i, _ := slices.BinarySearchFunc(list, at(x), func(y T, t time.Time) int {
		if at(y).After(t) {
			return 1
		}
		return -1 // of those at the same time, the first stays before
	})
	list = slices.Insert(list, i, x)
	return list[:min(len(list), maxListed)]
}

func (r *reading) add(read int, err error) {
	damaged, failed := unreadable(err)
	r.read += read
	r.unreadable += damaged
	r.failed = failed
}
