package fleet

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A Fate is what becomes of a request to the token endpoint.
type Fate string

const (
	Answered    Fate = ""
	RequestLost Fate = "request lost" // before the provider has seen it
	AnswerLost  Fate = "answer lost"  // after the provider has committed
)

// An Exchange is one request to the token endpoint, and what came of it. It
// names tokens by their fingerprint.
type Exchange struct {
	Process  string // that asked; empty: the test itself
	Grant    string // grant_type
	Grants   int    // of which authorization: they are counted from 1; 0 for an app
	User     string // who gave it
	Fate     Fate
	Received time.Time

	// Committed is when the provider had decided; zero: it never saw the
	// request, or has not decided yet.
	Committed time.Time

	Spent, Issued, Access string // refresh token received, refresh and access token issued
	Status                int
	Code                  string // of the error
}

// Refused reports whether the provider has ended the grant or sees it ended.
func (e *Exchange) Refused() bool { return e.Code == "invalid_grant" }

// A Provider is a providertest.Server that takes its time, loses requests and
// answers, and keeps a log of when it received and when it committed.
type Provider struct {
	*providertest.Server

	mu        sync.Mutex
	log       []*Exchange
	delay     time.Duration
	fate      func(*Exchange) Fate
	hold      chan struct{}
	held      int
	users     []string       // of the authorizations so far
	byRefresh map[string]int // authorization by refresh token
}

// NewProvider starts a Provider. It ends with the test.
func NewProvider(t testing.TB, policy providertest.Policy) *Provider {
	p := &Provider{Server: providertest.NewServer(t), byRefresh: make(map[string]int)}
	p.SetPolicy(policy)
	p.Fault(providertest.Token, providertest.Fault{Times: -1, Func: p.serve})
	t.Cleanup(p.Go)
	return p
}

// Take sets how long a request takes, half of it before the provider commits
// and half of it afterwards, and what decides about its fate; nil: it is
// answered.
func (p *Provider) Take(d time.Duration, fate func(*Exchange) Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.fate = d, fate
}

// Hold keeps all answers back from now on until Go is called, after the
// provider has committed.
func (p *Provider) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold, p.held = make(chan struct{}), 0
}

// Go lets the answers go that are held.
func (p *Provider) Go() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		close(p.hold)
		p.hold = nil
	}
}

// Held returns how many answers have been held back since the last Hold.
func (p *Provider) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	e := &Exchange{Process: r.Header.Get(processHeader), Received: time.Now()}
	r.ParseForm()
	e.Grant = r.PostForm.Get("grant_type")
	if rt := r.PostForm.Get("refresh_token"); rt != "" {
		e.Spent = providertest.Fingerprint(rt)
	}

	p.mu.Lock()
	e.Grants = p.byRefresh[e.Spent]
	if e.Grant == "authorization_code" {
		e.Grants = len(p.users)
	} else if p.fate != nil {
		e.Fate = p.fate(e)
	}
	if e.Grants > 0 {
		e.User = p.users[e.Grants-1]
	}
	delay, fate := p.delay, e.Fate
	p.log = append(p.log, e)
	p.mu.Unlock()
	if e.Grant == "authorization_code" {
		delay = 0
	}

	wait(delay / 2)
	if fate == RequestLost {
		panic(http.ErrAbortHandler)
	}
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	var a struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Error   string `json:"error"`
	}
	json.Unmarshal(rec.Body.Bytes(), &a)

	p.mu.Lock()
	e.Committed, e.Status, e.Code = time.Now(), rec.Code, a.Error
	if a.Access != "" {
		e.Access = providertest.Fingerprint(a.Access)
	}
	if a.Refresh != "" {
		e.Issued = providertest.Fingerprint(a.Refresh)
		p.byRefresh[e.Issued] = e.Grants
	}
	hold := p.hold
	if hold != nil && e.Grant != "authorization_code" {
		p.held++
	} else {
		hold = nil
	}
	p.mu.Unlock()
	if hold != nil {
		<-hold
	}
	wait(delay / 2)
	if fate == AnswerLost {
		panic(http.ErrAbortHandler)
	}

	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes())
}

// Log returns the requests so far, in the order in which they came.
func (p *Provider) Log() []Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	log := make([]Exchange, len(p.log))
	for i, e := range p.log {
		log[i] = *e
	}
	return log
}

// Authorize plays a user who authorizes the profile, through a Manager. Users
// come one at a time.
func (p *Provider) Authorize(ctx context.Context, m *authprofile.Manager, profile *authprofile.Profile, user string) error {
	p.mu.Lock()
	p.users = append(p.users, user)
	p.mu.Unlock()
	p.SetConsent(providertest.Consent{Subject: user})
	flow, err := m.Begin(ctx, profile, user)
	if err != nil {
		return err
	}
	back, err := p.Server.Authorize(flow.URL)
	if err != nil {
		return err
	}
	_, err = m.Finish(ctx, user, back.Query())
	return err
}

func wait(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
