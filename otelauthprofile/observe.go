package otelauthprofile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/authprofile/authprofile"
)

const (
	readEvery = time.Minute      // at most
	readLimit = 30 * time.Second // for all that is read at a time
	patience  = time.Second      // that a collection has with a reading
	oldest    = 5 * time.Minute  // that what was read is shown, while the Store fails

	// horizon is how far ahead the end of a grant is looked for.
	horizon = 30 * 24 * time.Hour
)

// ObserveGrants registers gauges about the profiles and grants in the Store of a
// Manager, until the registration that it returns is ended. It belongs in one
// program of a fleet, or in each: what they show is the same.
//
// The Store is read when metrics are collected, but once a minute at most, and a
// collection waits for it no longer than a second; what comes later is shown
// next time. That costs a list of all profiles and, for each, a Count and a Find
// or two. With [WithoutProfileID] it is one Count for all. If the Store fails,
// what was read last is shown for five minutes, and then nothing; errors go to
// OpenTelemetry's error handler.
//
// An end of a grant is shown if it is less than 30 days away, and only if the
// grant is active. It is negative for one that has been used longer than its
// provider has announced.
func ObserveGrants(m *authprofile.Manager, opts ...Option) (metric.Registration, error) {
	c := newConfig(opts)
	meter := c.meters.Meter(scope)
	counts, err1 := meter.Int64ObservableGauge("authprofile.grant.count",
		metric.WithUnit("{grant}"), metric.WithDescription("Grants in the Store by status."))
	ends, err2 := meter.Float64ObservableGauge("authprofile.grant.remaining",
		metric.WithUnit("s"), metric.WithDescription("How long until the first of the active grants ends."))
	secrets, err3 := meter.Float64ObservableGauge("authprofile.client.secret.remaining",
		metric.WithUnit("s"), metric.WithDescription("How long until the client secret ends."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	r := &reader{m: m, together: c.noProfile}
	return meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		now := time.Now()
		for id, s := range r.latest(ctx) {
			for _, status := range statuses {
				o.ObserveInt64(counts, s.counts[status], metric.WithAttributes(append(c.profile(id), statusKey.String(string(status)))...))
			}
			attrs := c.profile(id)
			if !s.ends.IsZero() {
				o.ObserveFloat64(ends, s.ends.Sub(now).Seconds(), metric.WithAttributes(attrs...))
			}
			if !s.secretEnds.IsZero() {
				o.ObserveFloat64(secrets, s.secretEnds.Sub(now).Seconds(), metric.WithAttributes(attrs...))
			}
		}
		return nil
	}, counts, ends, secrets)
}

// statuses are those that grants are counted by. A status that no grant has is
// shown as zero, so that an alert about it ends.
var statuses = []authprofile.Status{
	authprofile.StatusActive, authprofile.StatusFailing,
	authprofile.StatusNeedsReauthorization, authprofile.StatusNeedsConfiguration,
}

// A summary is what is shown of a profile, or of all of them together.
type summary struct {
	counts     map[authprofile.Status]int64
	ends       time.Time // the first of the active grants; zero: none that is known
	secretEnds time.Time // zero: not known
}

// A reader reads the Store every now and then.
type reader struct {
	m        *authprofile.Manager
	together bool // all profiles, under the empty ID

	mu      sync.Mutex
	reading chan struct{} // closed at the end of the reading that is under way; nil: there is none
	began   time.Time     // the latest reading
	at      time.Time     // when what is there was read
	there   map[string]summary
}

// latest returns what is stored by ID of the profile, as it was read last. It
// begins to read it anew if it is time, and waits for that for a moment.
func (r *reader) latest(ctx context.Context) map[string]summary {
	r.mu.Lock()
	if r.reading == nil && (r.began.IsZero() || time.Since(r.began) >= readEvery) {
		r.began, r.reading = time.Now(), make(chan struct{})
		go r.read(r.reading)
	}
	reading := r.reading
	r.mu.Unlock()

	if reading != nil {
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-reading:
		case <-t.C:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) > oldest {
		return nil
	}
	return r.there
}

// read reads the Store, which may panic or end the goroutine.
func (r *reader) read(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	var there map[string]summary
	err := errors.New("the Store has not returned")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Store has panicked with a %T", p)
		}
		r.mu.Lock()
		r.reading = nil
		if err == nil {
			r.at, r.there = time.Now(), there
		}
		r.mu.Unlock()
		close(done)
		if err != nil {
			otel.Handle(fmt.Errorf("otelauthprofile: grants could not be observed: %w", err))
		}
	}()
	there, err = readAll(ctx, r.m, r.together)
}

// readAll reads what is shown of each profile, or under the empty ID of all of
// them together. A profile that cannot be read is left out.
func readAll(ctx context.Context, m *authprofile.Manager, together bool) (map[string]summary, error) {
	there := make(map[string]summary)
	var firstSecret time.Time
	var unread error
	for p, err := range m.Profiles(ctx) {
		if err != nil {
			unread = err
			continue
		}
		firstSecret = earlier(firstSecret, p.SecretExpires)
		if together {
			continue
		}
		s, err := readGrants(ctx, m, p.ID)
		if err != nil {
			return nil, err
		}
		s.secretEnds = p.SecretExpires
		there[p.ID] = s
	}
	if together {
		s, err := readGrants(ctx, m, "")
		if err != nil {
			return nil, err
		}
		s.secretEnds = firstSecret
		there[""] = s
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case unread != nil && len(there) == 0:
		return nil, unread
	case unread != nil:
		otel.Handle(fmt.Errorf("otelauthprofile: a profile could not be observed: %w", unread))
	}
	return there, nil
}

// readGrants reads the grants of a profile, or of all if the ID is empty.
func readGrants(ctx context.Context, m *authprofile.Manager, id string) (summary, error) {
	counts, err := m.Count(ctx, id)
	if err != nil {
		return summary{}, err
	}
	return summary{counts: counts, ends: firstEnd(ctx, m, id)}, nil
}

const (
	maxRounds = 20
	perRound  = 100
)

// firstEnd returns when the first of the active grants ends, zero if that is
// beyond the horizon. The Store lists grants by user, and there may be a million
// that end within it. So it is asked for a few at a time, each time for those
// that end before all that were seen: that takes as many rounds as an earliest
// one is found, about the logarithm of their number. If it takes more than
// maxRounds, the earliest that was found is close enough. A grant that cannot be
// read is left out.
func firstEnd(ctx context.Context, m *authprofile.Manager, id string) time.Time {
	var first time.Time
	before := time.Now().Add(horizon)
	for range maxRounds {
		n, found := 0, false
		for g, err := range m.Find(ctx, authprofile.GrantFilter{ProfileID: id, Status: authprofile.StatusActive, EndsBefore: before}) {
			if err == nil {
				first, found = earlier(first, g.Ends), true
			}
			if n++; n == perRound {
				break
			}
		}
		if !found || n < perRound {
			break // those were all
		}
		before = first
	}
	return first
}

// earlier returns the earlier of two times, of which a zero one is not known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
