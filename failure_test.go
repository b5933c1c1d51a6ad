package authprofile_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// answers is a provider that answers all token requests in one way.
func answers(status int, body string) providertest.Fault {
	return providertest.Fault{Times: -1, Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
}

func code(s string) string {
	return fmt.Sprintf(`{"error":%q,"error_description":"in their words"}`, s)
}

const (
	active      = authprofile.StatusActive
	failing     = authprofile.StatusFailing
	needsPerson = authprofile.StatusNeedsReauthorization
	needsConfig = authprofile.StatusNeedsConfiguration
)

// A failureCase is what a failure means for users and for applications.
type failureCase struct {
	name     string
	fault    providertest.Fault                          // of the token endpoint
	network  func(*http.Request) (*http.Response, error) // instead of it
	requests int                                         // that reach the provider in the first attempt
	reason   authprofile.Reason
	user     authprofile.Status
	app      authprofile.Status
	code     string
	status   int
	next     [2]time.Duration // bounds of the time of the next attempt; zero: there is none
}

// failures are the table of the documentation of renewals.
var failures = []failureCase{
	{name: "invalid_grant", fault: answers(400, code("invalid_grant")), requests: 1,
		reason: authprofile.ReasonRevoked, user: needsPerson, app: needsConfig, code: "invalid_grant", status: 400},
	{name: "invalid_grant 401", fault: answers(401, code("invalid_grant")), requests: 1,
		reason: authprofile.ReasonRevoked, user: needsPerson, app: needsConfig, code: "invalid_grant", status: 401},
	{name: "invalid_grant 403", fault: answers(403, code("invalid_grant")), requests: 1,
		reason: authprofile.ReasonRevoked, user: needsPerson, app: needsConfig, code: "invalid_grant", status: 403},
	{name: "invalid_grant 200", fault: answers(200, code("invalid_grant")), requests: 1,
		reason: authprofile.ReasonRevoked, user: needsPerson, app: needsConfig, code: "invalid_grant", status: 200},
	{name: "invalid_client", fault: answers(401, code("invalid_client")), requests: 1,
		reason: authprofile.ReasonClient, user: needsConfig, app: needsConfig, code: "invalid_client", status: 401, next: [2]time.Duration{time.Second, 5 * time.Second}},
	{name: "unauthorized_client", fault: answers(400, code("unauthorized_client")), requests: 1,
		reason: authprofile.ReasonClient, user: needsConfig, app: needsConfig, code: "unauthorized_client", status: 400, next: [2]time.Duration{time.Second, 5 * time.Second}},
	{name: "invalid_scope", fault: answers(400, code("invalid_scope")), requests: 1,
		reason: authprofile.ReasonClient, user: needsConfig, app: needsConfig, code: "invalid_scope", status: 400, next: [2]time.Duration{time.Second, 5 * time.Second}},
	{name: "unsupported_grant_type", fault: answers(400, code("unsupported_grant_type")), requests: 1,
		reason: authprofile.ReasonClient, user: needsConfig, app: needsConfig, code: "unsupported_grant_type", status: 400, next: [2]time.Duration{time.Second, 5 * time.Second}},
	{name: "404", fault: answers(404, "no such page"), requests: 1,
		reason: authprofile.ReasonClient, user: needsConfig, app: needsConfig, status: 404, next: [2]time.Duration{time.Second, 5 * time.Second}},
	{name: "TLS", network: func(*http.Request) (*http.Response, error) {
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	}, reason: authprofile.ReasonClient, user: needsConfig, app: needsConfig, next: [2]time.Duration{time.Second, 5 * time.Second}},
	{name: "429", fault: answers(429, ""), requests: 1,
		reason: authprofile.ReasonUnavailable, user: failing, app: failing, status: 429, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "500", fault: answers(500, "oops"), requests: 1,
		reason: authprofile.ReasonUnavailable, user: failing, app: failing, status: 500, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "503", fault: answers(503, "<html>"), requests: 1,
		reason: authprofile.ReasonUnavailable, user: failing, app: failing, status: 503, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "temporarily_unavailable", fault: answers(400, code("temporarily_unavailable")), requests: 1,
		reason: authprofile.ReasonUnavailable, user: failing, app: failing, code: "temporarily_unavailable", status: 400, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "slow_down", fault: answers(400, code("slow_down")), requests: 1,
		reason: authprofile.ReasonUnavailable, user: failing, app: failing, code: "slow_down", status: 400, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "not JSON", fault: answers(200, "<html>sign in to the hotel's network</html>"), requests: 1,
		reason: authprofile.ReasonUnreadable, user: failing, app: failing, status: 200, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "no access token", fault: answers(200, `{"token_type":"Bearer","expires_in":3600}`), requests: 1,
		reason: authprofile.ReasonUnreadable, user: failing, app: failing, status: 200, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "no connection", network: func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}, reason: authprofile.ReasonUnreachable, user: failing, app: failing, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "request lost", fault: providertest.Fault{Times: -1, Drop: true}, requests: 2,
		reason: authprofile.ReasonLost, user: failing, app: failing, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "no answer in time", fault: providertest.Fault{Times: -1, Hang: true, Drop: true}, requests: 2,
		reason: authprofile.ReasonLost, user: failing, app: failing, next: [2]time.Duration{time.Second, 2 * time.Second}},
	{name: "400 without a word", fault: answers(400, ""), requests: 1,
		reason: authprofile.ReasonRefused, user: failing, app: failing, status: 400, next: [2]time.Duration{2 * time.Second, 6 * time.Second}},
	{name: "unknown code", fault: answers(403, code("computer_says_no")), requests: 1,
		reason: authprofile.ReasonRefused, user: failing, app: failing, code: "computer_says_no", status: 403, next: [2]time.Duration{2 * time.Second, 6 * time.Second}},
}

func TestFailures(t *testing.T) {
	for _, tt := range failures {
		for _, typ := range []authprofile.Type{authprofile.TypeUser, authprofile.TypeApp} {
			t.Run(tt.name+" "+string(typ), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) { tt.run(w, typ) })
			})
		}
	}
}

func (tt failureCase) run(w *world, typ authprofile.Type) {
	status, key, kind := tt.user, ada, "refresh_token"
	var p *authprofile.Profile
	var opts []authprofile.Option
	if typ == authprofile.TypeUser {
		p, opts = w.adasProfile(), []authprofile.Option{asAda}
	} else {
		status, key, kind = tt.app, app, "client_credentials"
		p = w.app()
		w.token(w.m, p)
	}
	next := tt.next
	if status == needsConfig && next[1] == 0 {
		next = [2]time.Duration{time.Second, 5 * time.Second}
	}
	before := w.grant(key)
	count := w.srv.Count(kind)
	expire()

	proc := w.process()
	if tt.network != nil {
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return tt.network(r)
			}
			return proc.net.base.RoundTrip(r)
		})
	} else {
		w.srv.Fault(providertest.Token, tt.fault)
	}
	err := w.refuses(proc.Manager, p, nil, opts...)
	w.asked(kind, count+tt.requests)
	count += tt.requests
	check := func(when string, err error) {
		w.Helper()
		tt.check(w, when, err, p, key, status)
	}
	check("the caller", err)

	g := w.grant(key)
	if g.Status != status || g.Failure == nil || g.Failure.Reason != tt.reason || g.Failure.Code != tt.code || g.Failure.HTTPStatus != tt.status {
		w.Fatalf("got %v, want status %q, reason %q, code %q, HTTP %d", g, status, tt.reason, tt.code, tt.status)
	}
	if g.RefreshToken != before.RefreshToken || g.AccessToken != before.AccessToken || g.Lease != nil {
		w.Error("got changed tokens or a lease in the grant, want the tokens as before and no lease")
	}
	if g.Failure.Attempts != 1 || !g.Failure.Since.Equal(g.Failure.Last) || g.Failure.ProfileVersion != p.Version {
		w.Errorf("got failure %+v, want the first, with the profile's version", *g.Failure)
	}
	switch wait := g.Failure.Next.Sub(g.Failure.Last); {
	case next[1] == 0 && !g.Failure.Next.IsZero():
		w.Errorf("got a next attempt at %v, want none", g.Failure.Next)
	case next[1] != 0 && (wait < next[0] || wait > next[1]):
		w.Errorf("got a next attempt after %v, want it between %v and %v", wait, next[0], next[1])
	}

	// What is known is not asked again: neither here nor by
	// another process, whatever becomes of this one.
	check("the next caller", w.refuses(proc.Manager, p, nil, opts...))
	check("another process", w.refuses(w.manager(), p, nil, opts...))
	w.asked(kind, count)

	w.srv.ClearFaults(providertest.Token)
	w.srv.Release()
	proc.net.heal()
	if next[1] == 0 {
		time.Sleep(24 * time.Hour)
		check("a day later", w.refuses(proc.Manager, p, nil, opts...))
		check("a day later, another process", w.refuses(w.manager(), p, nil, opts...))
		w.asked(kind, count)
		w.authorize(p, "ada")
		w.token(proc.Manager, p, opts...)
		w.healthy(key)
		return
	}
	time.Sleep(time.Until(g.Failure.Next))
	w.token(proc.Manager, p, opts...)
	w.asked(kind, count+1)
	w.healthy(key)
}

// check wants an error that says where, and what the failure means.
func (tt failureCase) check(w *world, when string, err error, p *authprofile.Profile, key authprofile.GrantKey, status authprofile.Status) {
	w.Helper()
	var where *authprofile.Error
	if !errors.As(err, &where) || where.Op != "token" || where.ProfileID != p.ID || where.User != key.User {
		w.Errorf("%s: got error %#v, want one that says where", when, where)
	}
	if got, want := errors.Is(err, authprofile.ErrReauthorize), status == needsPerson; got != want {
		w.Errorf("%s: error %v is ErrReauthorize: got %t, want %t", when, err, got, want)
	}
	if got, want := errors.Is(err, authprofile.ErrConfiguration), status == needsConfig; got != want {
		w.Errorf("%s: error %v is ErrConfiguration: got %t, want %t", when, err, got, want)
	}
	var re *oauth2.RetrieveError
	switch {
	case errors.As(err, &re) != (tt.status != 0):
		w.Errorf("%s: got RetrieveError %v, want one of HTTP status %d, and none of 0", when, re, tt.status)
	case re == nil:
	case re.ErrorCode != tt.code || re.Response.StatusCode != tt.status || re.Body != nil:
		w.Errorf("%s: got code %q, status %d, body %q; want %q, %d, none", when, re.ErrorCode, re.Response.StatusCode, re.Body, tt.code, tt.status)
	case tt.code != "" && re.ErrorDescription != "in their words":
		w.Errorf("%s: got description %q, want the provider's", when, re.ErrorDescription)
	}
	if s := err.Error(); strings.Contains(s, "in their words") || strings.Contains(s, "ada") {
		w.Errorf("%s: got text %q, want neither the provider's words nor the user in it", when, s)
	}
}

// No person can authorize an application: it needs an operator, and goes on
// trying.
func TestRefusalOfAnApplication(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		app := w.app()
		w.srv.Fault(providertest.Token, answers(400, ""))
		for range 1500 {
			w.m.Token(t.Context(), app)
			time.Sleep(time.Second)
		}
		w.refuses(w.m, app, authprofile.ErrConfiguration)
		if got := w.srv.Count("client_credentials"); got > 12 {
			t.Errorf("got %d requests for the application in 25 minutes, want a few", got)
		}
		w.srv.ClearFaults(providertest.Token)
		time.Sleep(15 * time.Minute)
		w.token(w.m, app)
	})
}

// A gateway that refuses everything for a minute, while tokens are renewed ahead
// of time, is no reason to ask a person.
func TestShortRefusalDoesNotEndAGrant(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		end := w.grant(ada).Expiry
		time.Sleep(time.Until(end) - 61*time.Second)
		w.srv.Fault(providertest.Token, answers(403, ""))
		for ; time.Until(end) > -time.Minute; time.Sleep(200 * time.Millisecond) {
			if _, err := w.m.Token(t.Context(), p, asAda); err != nil && time.Until(end) > 0 {
				t.Fatal(err)
			}
		}
		if got := w.srv.Count("refresh_token"); got < 6 {
			t.Errorf("got %d requests, want as many as would do if they came more slowly", got)
		}
		w.srv.ClearFaults(providertest.Token)
		time.Sleep(15 * time.Minute)
		w.token(w.m, p, asAda)
		w.healthy(ada)
	})
}

// Refusals are counted by themselves: an outage that ends in two of them is
// still an outage.
func TestRefusalsAfterAnOutageAreCountedAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		w.srv.Fault(providertest.Token, answers(503, ""))
		for range 3600 {
			w.refuses(w.m, p, nil, asAda)
			time.Sleep(time.Second)
		}
		w.srv.ClearFaults(providertest.Token)
		w.srv.Fault(providertest.Token, answers(403, ""))
		before := w.srv.Count("refresh_token")
		for w.srv.Count("refresh_token") < before+2 {
			w.refuses(w.m, p, nil, asAda)
			time.Sleep(time.Second)
		}
		if g := w.grant(ada); g.Status != failing || g.Failure.Attempts != 2 {
			t.Errorf("got status %q, failure %+v; want failing after two refusals", g.Status, *g.Failure)
		}
		w.srv.ClearFaults(providertest.Token)
		time.Sleep(15 * time.Minute)
		w.token(w.m, p, asAda)
		w.healthy(ada)
	})
}

func TestCorrectedSecretHealsAtTheNextCall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		unsaved := w.unsavedApp()
		unsaved.ID = ""
		src := w.m.Source(t.Context(), unsaved)
		w.srv.SetClientSecret(providertest.ClientID, "rotated")
		expire()
		for range 3 {
			w.refuses(w.m, user, authprofile.ErrConfiguration, asAda)
			w.refuses(w.m, app, authprofile.ErrConfiguration)
			w.refuses(w.m, unsaved, authprofile.ErrConfiguration)
			if _, err := src.Token(); !errors.Is(err, authprofile.ErrConfiguration) {
				t.Errorf("got error %v, want ErrConfiguration", err)
			}
		}
		w.asked("refresh_token", 1)
		w.asked("client_credentials", 3)

		// Other processes need no restart, and no user has to authorize.
		other := w.manager()
		w.refuses(other, user, authprofile.ErrConfiguration, asAda)
		for _, p := range []*authprofile.Profile{user, app} {
			p.ClientSecret = "rotated"
			w.save(p)
		}
		w.token(other, user, asAda)
		w.token(other, app)
		w.token(w.m, user, asAda)
		w.token(w.m, app)
		w.asked("refresh_token", 2)
		w.asked("client_credentials", 4)
		w.healthy(ada)
	})
}

func TestProviderThatIsDownForAnHour(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		w.token(w.m, app)
		managers := []*authprofile.Manager{w.m, w.manager(), w.manager()}
		expire()
		count := w.srv.Count("")
		w.srv.Fault(providertest.Token, answers(503, ""))
		for range 60 {
			for _, m := range managers {
				w.refuses(m, user, nil, asAda)
				w.refuses(m, app, nil)
			}
			time.Sleep(time.Minute)
		}
		if got := w.srv.Count("") - count; got > 120 {
			t.Errorf("got %d requests in an hour, want one a minute for each grant", got)
		}
		if g := w.grant(ada); g.Status != failing || g.Failure.Attempts < 10 {
			t.Errorf("got %v, want it failing after ten attempts or more", g)
		}
		w.srv.ClearFaults(providertest.Token)
		for _, m := range managers {
			w.token(m, user, asAda)
			w.token(m, app)
		}
		w.healthy(ada)
		w.healthy(authprofile.GrantKey{ProfileID: "app"})
	})
}

func TestDeadGrantMakesOneRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.srv.RevokeUser("user")
		expire()
		managers := []*authprofile.Manager{w.m, w.manager(), w.manager()}
		for range 100 {
			var wg sync.WaitGroup
			for _, m := range managers {
				for range 5 {
					wg.Go(func() { w.refuses(m, p, authprofile.ErrReauthorize, asAda) })
				}
			}
			wg.Wait()
			time.Sleep(time.Minute)
		}
		w.asked("refresh_token", 1)
	})
}

func TestAnswersWithoutARefreshTokenKeepTheOldOne(t *testing.T) {
	for _, value := range []any{nil, "", "absent"} {
		t.Run(fmt.Sprint(value), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateNever})
				p := w.adasProfile()
				before := w.grant(ada)
				w.srv.Mutate(providertest.Token, func(a map[string]any) {
					if a["refresh_token"] = value; value == "absent" {
						delete(a, "refresh_token")
					}
				})
				for range 3 {
					expire()
					w.token(w.m, p, asAda)
					if got := w.grant(ada).RefreshToken; got != before.RefreshToken {
						t.Fatal("got another refresh token, want the old one kept")
					}
				}
				w.asked("refresh_token", 3)
				w.healthy(ada)
			})
		})
	}
}

// What a database says of a failure may be damaged. It is an odd failure then,
// and no reason to stop.
func TestDamagedFailures(t *testing.T) {
	for _, f := range []authprofile.Failure{
		{},
		{Attempts: math.MinInt / 2},
		{Attempts: math.MaxInt, Reason: "no such reason"},
		{Last: time.Unix(1<<40, 0), Next: time.Unix(1<<40, 0)},
		{Last: time.Unix(-1<<40, 0), Next: time.Unix(-1<<40, 0), HTTPStatus: -1},
	} {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				expire()
				g := w.grant(ada)
				g.Status, g.Failure = authprofile.StatusFailing, &f
				if err := w.store.PutGrant(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				proc := w.process()
				w.srv.Fault(providertest.Token, answers(503, ""))
				if _, err := proc.Token(t.Context(), p, asAda); err == nil {
					t.Error("got no error from a provider that is away, want one")
				}
				w.srv.ClearFaults(providertest.Token)
				time.Sleep(10 * time.Minute)
				w.token(proc.Manager, p, asAda)
				w.healthy(ada)
			})
		})
	}
}

func TestBackoffGrowsAndIsNeverTheSame(t *testing.T) {
	waits := make([][]time.Duration, 2)
	for i := range waits {
		inWorld(t, func(t *testing.T, w *world) {
			p := w.adasProfile()
			expire()
			w.srv.Fault(providertest.Token, answers(500, ""))
			for range 12 {
				w.refuses(w.m, p, nil, asAda)
				f := w.grant(ada).Failure
				waits[i] = append(waits[i], f.Next.Sub(f.Last))
				time.Sleep(time.Until(f.Next))
			}
			w.asked("refresh_token", 12)
		})
	}
	for n, want := 0, time.Second; n < 12; n, want = n+1, min(2*want, 5*time.Minute) {
		for _, list := range waits {
			if list[n] < want || list[n] > want+want/4 {
				t.Errorf("got a wait of %v after %d failures, want %v and up to a quarter more", list[n], n+1, want)
			}
		}
	}
	same := 0
	for n := range waits[0] {
		if waits[0][n] == waits[1][n] {
			same++
		}
	}
	if same > 2 {
		t.Errorf("got %d of 12 waits alike in two processes, want two at most", same)
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	tests := []struct {
		value string
		want  time.Duration
	}{
		{"120", 2 * time.Minute},
		{"date", 10 * time.Minute},
		{"315360000", time.Hour}, // ten years
		{"99999999999999999999", time.Hour},
		{"ten years", time.Hour}, // as a date
		{"-5", 0},
		{"0", 0},
		{"soon", 0},
	}
	for _, tt := range tests {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(tt.value, " ", status), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.adasProfile()
					expire()
					value := tt.value
					switch value {
					case "date":
						value = time.Now().Add(tt.want).UTC().Format(http.TimeFormat)
					case "ten years":
						value = time.Now().AddDate(10, 0, 0).UTC().Format(http.TimeFormat)
					}
					w.srv.Fault(providertest.Token, providertest.Fault{Status: status, Header: http.Header{"Retry-After": {value}}})
					begin := time.Now()
					w.refuses(w.m, p, nil, asAda)
					if tt.want == 0 {
						time.Sleep(2 * time.Second)
						w.token(w.m, p, asAda)
						return
					}
					// Even by callers without a token, in all processes.
					for time.Since(begin) < tt.want-2*time.Second {
						w.refuses(w.m, p, nil, asAda)
						w.refuses(w.manager(), p, nil, asAda)
						time.Sleep(tt.want / 10)
					}
					w.asked("refresh_token", 1)
					time.Sleep(tt.want + time.Second - time.Since(begin))
					w.token(w.m, p, asAda)
					w.asked("refresh_token", 2)
				})
			})
		}
	}
}

// A provider that says when to come back does not wait for a change of the
// profile, unless that makes it another client.
func TestRetryAfterOutlivesAChangeOfTheProfile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		w.token(w.m, app)
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Status: 429, Header: http.Header{"Retry-After": {"1800"}}})
		w.refuses(w.m, user, nil, asAda)
		w.refuses(w.m, app, nil)
		count := w.srv.Count("")
		for range 5 {
			time.Sleep(time.Minute)
			for _, p := range []*authprofile.Profile{user, app} {
				p.Description += "x" // or its keys were rotated
				w.save(p)
			}
			w.refuses(w.m, user, nil, asAda)
			w.refuses(w.manager(), app, nil)
		}
		if got := w.srv.Count(""); got != count {
			t.Errorf("got %d requests before the provider wants them", got-count)
		}
		w.srv.ClearFaults(providertest.Token)
		w.srv.AddClient(providertest.Client{ID: "another", Secret: "secret"})
		app.ClientID, app.ClientSecret = "another", "secret"
		w.save(app)
		w.token(w.m, app) // which the provider did not mean
		time.Sleep(26 * time.Minute)
		w.token(w.m, user, asAda)
		w.healthy(ada)
	})
}

// However many have no token and ask for one, in however many processes, one
// attempt a second is all that the provider sees.
func TestForcedAttemptsArePaced(t *testing.T) {
	for _, typ := range []authprofile.Type{authprofile.TypeUser, authprofile.TypeApp} {
		t.Run(string(typ), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				kind, p, opts := "client_credentials", w.app(), []authprofile.Option(nil)
				if typ == authprofile.TypeUser {
					kind, p, opts = "refresh_token", w.adasProfile(), []authprofile.Option{asAda}
				}
				expire()
				w.srv.Fault(providertest.Token, answers(503, ""))
				managers := []*authprofile.Manager{w.m, w.manager(), w.manager(), w.manager()}
				const seconds = 60
				for range seconds * 5 {
					var wg sync.WaitGroup
					for _, m := range managers {
						for range 3 {
							wg.Go(func() { w.refuses(m, p, nil, opts...) })
						}
					}
					wg.Wait()
					time.Sleep(200 * time.Millisecond)
				}
				if got := w.srv.Count(kind); got > seconds+1 || got < seconds/2 {
					t.Errorf("got %d attempts in %d seconds, want about one a second", got, seconds)
				}
				// And each second is a chance: recovery takes no longer.
				w.srv.ClearFaults(providertest.Token)
				time.Sleep(time.Second)
				w.token(w.m, p, opts...)
			})
		})
	}
}

// A process whose clock is ahead notes failures that have yet to happen by the
// clocks of others. Together they still ask no more often than once a second or
// so.
func TestForcedAttemptsArePacedBetweenClocks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		w.srv.Fault(providertest.Token, answers(503, ""))
		begin := time.Now()
		const attempts = 20
		for range attempts {
			w.refuses(w.m, p, nil, asAda)
			g := w.grant(ada) // and the other process has just failed too
			g.Failure.Last, g.Failure.Next = time.Now().Add(10*time.Second), time.Now().Add(12*time.Second)
			w.put(g)
		}
		w.asked("refresh_token", attempts)
		if d := time.Since(begin); d < (attempts-1)*time.Second {
			t.Errorf("got %d attempts in %v, want about one a second", attempts, d)
		}
	})
}

// A renewal ahead of time that fails is tried again while the token is still
// good, whatever the backoff.
func TestBackoffEndsBeforeTheToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.m.RenewBefore = 20 * time.Minute
		p := w.adasProfile()
		w.srv.Fault(providertest.Token, answers(503, ""))
		end := w.grant(ada).Expiry
		for time.Until(end) > 3*time.Second {
			w.token(w.m, p, asAda)
			time.Sleep(time.Second)
			if f := w.grant(ada).Failure; f != nil {
				if left := end.Sub(f.Last); left > 5*time.Second && f.Next.Sub(f.Last) > left/3+time.Millisecond {
					t.Fatalf("got the next attempt after %v with %v left, want it in the first third of them", f.Next.Sub(f.Last), left)
				}
			}
		}
		if got := w.srv.Count("refresh_token"); got < 8 || got > 40 {
			t.Errorf("got %d attempts in the last 20 minutes, want some, and 40 at most", got)
		}
		w.srv.ClearFaults(providertest.Token)
		for time.Until(end) > 0 {
			w.token(w.m, p, asAda)
			time.Sleep(100 * time.Millisecond)
		}
		w.healthy(ada)
	})
}

func TestProviderAwayWhileTheTokenIsGood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		src := w.m.Source(t.Context(), p, asAda)
		src.Token()
		time.Sleep(time.Until(w.grant(ada).Expiry) - 25*time.Second)
		w.srv.Fault(providertest.Token, answers(503, ""))
		time.AfterFunc(4*time.Second, func() { w.srv.ClearFaults(providertest.Token) })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					begin := time.Now()
					if _, err := src.Token(); err != nil || time.Since(begin) != 0 {
						t.Errorf("got error %v after %v, want a token at once", err, time.Since(begin))
						return
					}
				}
			})
		}
		wg.Wait()
		if got := w.srv.Count("refresh_token"); got < 2 || got > 5 {
			t.Errorf("got %d requests, want a few", got)
		}
		w.healthy(ada)
	})
}

// A provider may answer 503 for ever for a grant that is dead. That costs
// little, can be seen, and keeps no user from authorizing again.
func TestThreat085_OutageWithoutEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Grant: "refresh_token", Status: 503})
		expire()
		began := time.Now()
		fleet := []*authprofile.Manager{w.m, w.manager(), w.manager()}
		for time.Since(began) < 6*time.Hour {
			for _, m := range fleet {
				w.refuses(m, p, nil, asAda)
			}
			time.Sleep(time.Minute)
		}
		if got := w.srv.Count("refresh_token"); got > 6*60 {
			t.Errorf("got %d requests in six hours, want one a minute for all who have no token", got)
		}
		f := w.grant(ada).Failure
		if g := w.grant(ada); g.Status != authprofile.StatusFailing || f == nil || f.Since.Sub(began).Abs() > time.Second || f.Attempts < 50 {
			t.Errorf("got status %q with %+v, want to see since when", g.Status, f)
		}

		w.authorize(p, "ada")
		w.token(w.m, p, asAda)
		w.healthy(ada)
	})
}
