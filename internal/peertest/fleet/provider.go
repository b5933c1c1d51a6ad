package fleet

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/tokenswitch"
	"github.com/authprofile/authprofile/providertest"
)

// A Provider is a providertest.Server that takes its time, loses requests and
// answers, and keeps a log of when it received and when it committed.
type Provider struct {
	*providertest.Server
	token *tokenswitch.Switch

	mu    sync.Mutex
	delay time.Duration
	fate  func(*tokenswitch.Exchange) tokenswitch.Fault
	hold  chan struct{}
	users []string // of the authorizations so far
}

// NewProvider starts a Provider. It ends with the test.
func NewProvider(t testing.TB, policy providertest.Policy) *Provider {
	p := &Provider{Server: providertest.NewServer(t), token: tokenswitch.New()}
	p.SetPolicy(policy)
	p.token.Decide(p.decide)
	p.Fault(providertest.Token, providertest.Fault{Times: -1, Func: p.token.Serve})
	t.Cleanup(p.token.Close)
	return p
}

// Take sets how long a request takes, half of it before the provider commits
// and half of it afterwards, and what decides about its fate; nil: it is
// answered.
func (p *Provider) Take(d time.Duration, fate func(*tokenswitch.Exchange) tokenswitch.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.fate = d, fate
}

// Hold keeps the answers to requests that come from now on back until Go is
// called, after the provider has committed.
func (p *Provider) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = make(chan struct{})
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

// Held returns how many answers are being held back.
func (p *Provider) Held() int {
	p.mu.Lock()
	hold := p.hold
	p.mu.Unlock()
	n := 0
	for _, e := range p.Log() {
		if hold != nil && e.Fault.Until == hold && !e.Committed.IsZero() {
			n++
		}
	}
	return n
}

// decide says what becomes of a request, and whose it is.
func (p *Provider) decide(r *http.Request, e *tokenswitch.Exchange) (f tokenswitch.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Process = Of(r)
	if e.Grant == "authorization_code" {
		e.Authorization, e.User = len(p.users), p.users[len(p.users)-1]
		return f
	}
	if p.fate != nil {
		f = p.fate(e)
	}
	f.Delay = p.delay
	if p.hold != nil && f.Then == tokenswitch.Continue {
		f.At, f.Until = tokenswitch.Answer, p.hold
	}
	return f
}

// Log returns the requests so far, in the order in which they came.
func (p *Provider) Log() []tokenswitch.Exchange { return p.token.Log() }

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
