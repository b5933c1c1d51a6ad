package authprofile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/tokencache"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

// A Manager saves profiles, and gives out and renews tokens.
//
// The zero Manager works, and keeps all in memory. Its fields must not change
// after the first call of a method, and it must not be copied. All methods may
// be called by many goroutines at once.
//
// A program needs only one Manager for each Store. Several of them, in one
// program or in many, coordinate through the Store.
type Manager struct {
	// Store keeps profiles and grants. If nil, a MemStore does, for the
	// lifetime of the Manager.
	Store Store

	// HTTPClient carries the requests to providers, and is the base of what
	// Client returns. If nil, one is used that limits connecting and TLS to
	// 10 seconds each, and goes through the proxy that the environment names;
	// all Managers without an HTTPClient share its connections. It gives up an
	// HTTP/2 connection that shows no sign of life for 10 seconds. An
	// http.Transport of your own needs its HTTP2 field set for that: without
	// pings, a connection that the network has silently dropped is used again
	// and again, for many minutes.
	//
	// Token requests last 30 seconds at most. Authorization codes and discovery
	// documents travel on connections of their own if the Transport is an
	// *http.Transport, so that one that was silently dropped costs no login. For
	// requests to providers only Transport and Timeout count: redirects are
	// decided by the Manager, and cookies are never kept. A service whose
	// tenants name their own providers takes one of package egress, which
	// reaches public addresses only.
	HTTPClient *http.Client

	// RedirectURL is where providers send users back: what to register with
	// them. "{profile}" in it becomes the profile's ID, so that each profile
	// has its own address, as RFC 9700, section 4.4 recommends. A profile's
	// own RedirectURL comes first.
	RedirectURL string

	// RenewBefore is how long before its end a token begins to be renewed when
	// a caller asks for it. Each process draws its own moment between that and
	// half of it, so that they do not all come at once. If zero, it is one
	// minute. It is never more than a third of the token's life.
	RenewBefore time.Duration

	// CacheSize is how many grants are kept in memory; the least recently
	// used leave first, and are read from the Store again when they are
	// needed. If zero, it is 10,000.
	CacheSize int

	// Logger gets a record for each renewal, authorization, failure and
	// change of status. None of them has a secret or a user in it. If nil,
	// nothing is logged.
	Logger *slog.Logger

	// Notify is told when a person is needed, and when that is over: see
	// Maintain, which calls it, up to eight times at once. If it returns an
	// error it is called again later, with the same ID. It has 30 seconds. If
	// nil, nothing is told.
	Notify func(ctx context.Context, n Notice) error

	// Trace hears of token requests, of callers who wait, and of what goes on
	// between processes, for metrics and traces. Module otelauthprofile has one
	// for OpenTelemetry. If nil, there is none, which costs nothing.
	Trace *Trace

	// Assertion returns what the client of a profile authenticates by at the
	// audience, if its AuthMethod is AuthPrivateKeyJWT and it has no ClientKey: a
	// signed assertion (RFC 7523, section 2.2). It is called for each request, and
	// must not change p. Package assertion has functions for files that the
	// platform renews, and for keys that do not leave a KMS or HSM. If it fails,
	// panics, or has not returned when the time of the request is over (30 seconds
	// at most), nothing is sent, and the renewal is tried again later. The text of
	// its error is not shown; errors.Is and errors.As find it.
	Assertion func(ctx context.Context, p *Profile, audience string) (string, error)

	// Providers are those that templates can name besides the built-in ones, or in
	// place of those of the same names. One that [Provider.Validate] has a problem
	// with is ErrConfiguration where a profile names it, with every problem.
	Providers []Provider

	once sync.Once
	e    *engine
}

// Format writes how m is set up. Its state is left out: it changes
// concurrently.
func (m *Manager) Format(f fmt.State, verb rune) {
	if m == nil {
		io.WriteString(f, "<nil>")
		return
	}
	fmt.Fprintf(f, "Manager{Store:%T RedirectURL:%q RenewBefore:%v CacheSize:%d}", m.Store, m.RedirectURL, m.RenewBefore, m.CacheSize)
}

// An engine is what a Manager works with once its first method was called.
type engine struct {
	store   Store   // as the application gave it
	bounded bounded // the same, with a limit for each call

	// http carries requests to providers. It follows no redirect and keeps no
	// cookie; those who may follow one say so for that request.
	http *http.Client

	// fresh carries the requests that an authorization depends on, each over a
	// connection of its own: one that was kept open may have been dropped by
	// the network without a word.
	fresh *http.Client

	docs      *discovery.Cache
	catalog   *catalog.Catalog
	providers *resolver

	credentials *credentials
	cache       *tokencache.Cache
	lifetimes   *lifetimes
	events      events
	tasks       *tasks
	writer      *writer
	renewals    *renewals
	keeper      *keeper
}

// engine returns the Manager's engine, made at the first call.
func (m *Manager) engine() *engine {
	m.once.Do(func() { m.e = newEngine(m) })
	return m.e
}

func newEngine(m *Manager) *engine {
	e := &engine{
		store:     m.Store,
		http:      transport.Client(m.HTTPClient),
		cache:     tokencache.New(m.CacheSize),
		lifetimes: &lifetimes{before: m.RenewBefore, now: time.Now},
		events:    events{m.Logger, m.Trace},
	}
	if e.store == nil {
		e.store = new(MemStore)
	}
	if e.events.log == nil {
		e.events.log = slog.New(slog.DiscardHandler)
	}
	if e.events.trace == nil {
		e.events.trace = new(Trace)
	}
	e.fresh = transport.Fresh(e.http)
	e.docs = discovery.NewCache(e.fresh, e.events.log)
	e.catalog = newCatalog(m.Providers)
	e.credentials = &credentials{assertion: m.Assertion, http: e.http, now: e.lifetimes.now}
	e.providers = &resolver{e.docs, e.catalog, m.RedirectAddress, e.credentials, new(resources)}
	e.tasks = &tasks{events: e.events, closing: make(chan struct{})}
	e.bounded = bounded{e.store, e.events, e.tasks}
	e.writer = &writer{
		store: e.bounded, cache: e.cache, lifetimes: e.lifetimes, events: e.events, tasks: e.tasks,
		pending: make(map[GrantKey]*pendingWrite),
	}
	e.renewals = &renewals{
		renewing: &renewing{
			store: e.bounded, providers: e.providers, http: e.http, limiter: new(tokenendpoint.Limiter),
			writer: e.writer, companies: new(companies), lifetimes: e.lifetimes, events: e.events, tasks: e.tasks,
			owner: uuid.NewString(),
		},
		cache:   e.cache,
		flights: make(map[GrantKey]*flight),
	}
	e.keeper = &keeper{
		store: e.bounded, renewals: e.renewals, companies: e.renewals.companies, lifetimes: e.lifetimes, events: e.events, tasks: e.tasks,
		notify: m.Notify, visits: make(chan struct{}, maxVisits), untold: make(chan struct{}, maxUntold), telling: make(chan struct{}, maxTelling),
	}
	e.writer.onDeleted = func(key GrantKey) { e.renewals.supersede(key, nil) }
	return e
}

// Save validates p and stores it. The first Save of a profile assigns an ID
// if it has none; a new profile under an ID that exists is [ErrConflict], and
// so is one that was saved since it was read. If Save fails, p
// is as before, except that it keeps the ID that was assigned.
//
// If the error is neither ErrConflict nor a [*FieldError], p may be stored all
// the same: the Store's answer was lost. Save can then be called again with p
// unchanged, and succeeds if the Store has just what p says. Only a new profile
// whose ID the application has chosen is ErrConflict, as it may be another's.
//
// A new client secret or key, and new addresses, take effect at the next renewal,
// in all processes that share the Store, and so do new scopes of an app profile;
// no grant is lost by going from a secret to a key, or back. Users
// have to authorize new scopes of a user profile: compare [Grant.Requested].
// With a new client ID all of them have to authorize again, since their grants
// belong to the old one. After any Save, authorizations in progress have to
// begin again.
func (m *Manager) Save(ctx context.Context, p *Profile) error {
	e := m.engine()
	c := p.Clone()
	if c.ID == "" {
		c.ID = uuid.Must(uuid.NewV7()).String()
		c.made = c.ID
	}
	if err := m.validate(c); err != nil {
		return wrap("save", p.ID, "", err)
	}
	p.ID, p.made = c.ID, c.made

	c.made, c.saved = "", [sha256.Size]byte{} // these are the caller's to know
	if !c.SecretExpires.IsZero() {
		if err := e.bounded.remind(ctx, c, e.lifetimes.now()); err != nil {
			return wrap("save", p.ID, "", err)
		}
	}
	err := e.store.PutProfile(ctx, c)
	if errors.Is(err, ErrConflict) && (p.Version != 0 || p.made == p.ID) {
		c, err = e.savedBefore(ctx, p, err)
	}
	if err != nil {
		return wrap("save", p.ID, "", err)
	}
	p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
	p.made = ""
	p.markSaved()
	return nil
}

// savedBefore returns what is stored in place of p, if it says just what p
// says: then an earlier Save has succeeded, and its answer was lost. Otherwise
// the conflict stands.
func (e *engine) savedBefore(ctx context.Context, p *Profile, conflict error) (*Profile, error) {
	stored, err := e.store.Profile(ctx, p.ID)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !stored.saysTheSame(p):
		return nil, conflict
	case err == nil && stored.Version == p.Version: // read from a copy that lags behind
		return nil, conflict
	case err != nil:
		return nil, err
	}
	return stored, nil
}

// validate is p.Validate with the providers of m and the redirect address that p
// gets from it.
func (m *Manager) validate(p *Profile) error {
	e := m.engine()
	problems := append(unjoin(p.validate(e.catalog, e.credentials.keys.parse)), unjoin(m.checkRedirect(p))...)
	if p.AuthMethod == AuthPrivateKeyJWT && p.ClientKey == "" && m.Assertion == nil {
		problems = append(problems, &FieldError{Field: fieldAuthMethod, Problem: "needs a client key, or Manager.Assertion"})
	}
	return errors.Join(problems...)
}

// checkRedirect says what is wrong with the redirect address that p gets from m,
// or nothing.
func (m *Manager) checkRedirect(p *Profile) error {
	var v problems
	if p.Type != TypeUser || p.RedirectURL != "" {
		return nil
	}
	if m.RedirectURL == "" {
		v.add("RedirectURL", "is missing, and the Manager has none either")
	} else if problem := checkRedirectAddress(m.RedirectAddress(p)); problem != "" {
		v.add("RedirectURL", "is missing, and the Manager's "+problem)
	}
	return v.join()
}

// Profile returns a stored profile.
func (m *Manager) Profile(ctx context.Context, id string) (*Profile, error) {
	p, err := m.engine().store.Profile(ctx, id)
	if err != nil {
		return nil, wrap("profile", id, "", err)
	}
	p.markSaved()
	return p, nil
}

// Profiles lists all stored profiles by ID. Other calls may be made inside the
// loop.
func (m *Manager) Profiles(ctx context.Context) iter.Seq2[*Profile, error] {
	store := m.engine().store
	return pages(func(after string) ([]*Profile, error) {
		list, err := store.ListProfiles(ctx, after, pageSize)
		for _, p := range list {
			p.markSaved()
		}
		return list, err
	}, func(p *Profile) string { return p.ID }, func(err error) error { return wrap("profiles", "", "", err) })
}

// ListProfiles returns at most limit profiles whose ID comes after the given one,
// ordered by ID, byte by byte: a page of what [Manager.Profiles] lists. An empty
// after means from the beginning. Fewer than limit means that there are no more.
//
// With the profiles there may be an error, as with [Manager.ListGrants].
func (m *Manager) ListProfiles(ctx context.Context, after string, limit int) ([]*Profile, error) {
	list, err := m.engine().store.ListProfiles(ctx, after, limit)
	for _, p := range list {
		p.markSaved()
	}
	var failed []error
	for _, err := range unjoin(err) {
		failed = append(failed, wrap("profiles", "", "", err))
	}
	return list, errors.Join(failed...)
}

// Delete removes a profile and all its grants. It does not tell the provider:
// call [Manager.Revoke] for each grant first if it should know. Deleting a
// profile that does not exist is not an error.
func (m *Manager) Delete(ctx context.Context, id string) error {
	e := m.engine()
	if err := e.store.DeleteProfile(ctx, id); err != nil {
		return wrap("delete", id, "", err)
	}
	e.renewals.supersedeProfile(id)
	return nil
}

// profileInAddress in Manager.RedirectURL becomes the profile's ID.
const profileInAddress = "{profile}"

// RedirectAddress returns the exact string to register with the provider as
// redirect address of p. It is empty if that cannot be known yet: neither p nor
// the Manager has one, or it depends on an ID that p has not got.
func (m *Manager) RedirectAddress(p *Profile) string {
	switch {
	case p.RedirectURL != "":
		return p.RedirectURL
	case p.ID == "" && strings.Contains(m.RedirectURL, profileInAddress):
		return ""
	}
	// Fit for a path and for a query: a path may have "&", "=" and "+" in it,
	// with which an ID would make parameters of its own.
	id := strings.ReplaceAll(url.QueryEscape(p.ID), "+", "%20")
	return strings.ReplaceAll(m.RedirectURL, profileInAddress, id)
}

// Shutdown waits until everything that was renewed is stored, and ends what
// the Manager does in the background. Tokens that are in memory are still
// given out afterwards, but none is renewed. If ctx ends first, its error is
// returned and the rest goes on; Shutdown can be called again. With a database
// that is away it can take as long as ctx lasts.
func (m *Manager) Shutdown(ctx context.Context) error {
	e := m.engine()
	e.tasks.close()
	e.cache.Close()

	done := make(chan struct{})
	go func() {
		e.tasks.wg.Wait()
		e.docs.Close()
		e.credentials.certificates.Close()
		if t, ok := e.http.Transport.(*http.Transport); ok && t == transport.Shared() {
			t.CloseIdleConnections() // others, who may share them, open new ones
		}
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return wrap("shutdown", "", "", ctx.Err())
	}
}
