package authprofile_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A flowStore counts the flows that it keeps.
type flowStore struct {
	*authprofile.MemStore
	puts atomic.Int32
}

func (s *flowStore) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	s.puts.Add(1)
	return s.MemStore.PutFlow(ctx, f)
}

// countFlows gives the world a Manager whose flows are counted.
func (w *world) countFlows() *flowStore {
	s := &flowStore{MemStore: w.store}
	w.m = w.manager()
	w.m.Store = s
	return s
}

// wantPushed wants an authorization address with the client and a reference to
// the request, and with what pairs give.
func wantPushed(t *testing.T, address, client string, pairs ...string) {
	t.Helper()
	q := parsed(t, address).Query()
	if !strings.HasPrefix(q.Get("request_uri"), "urn:ietf:params:oauth:request_uri:") {
		t.Errorf("got address %s, want one with the request_uri", address)
	}
	wantParams(t, "the address", q, append(pairs, "client_id", client)...)
	if got, want := len(q), 2+len(pairs)/2; got != want {
		t.Errorf("got address %s with %d parameters, want %d", address, got, want)
	}
}

// pushes returns the forms that were pushed.
func pushes(t *testing.T, srv *providertest.Server) (list []url.Values) {
	t.Helper()
	for _, c := range srv.Captured() {
		if c.Endpoint == providertest.PAR {
			form, err := url.ParseQuery(c.Body)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, form)
		}
	}
	return list
}

// Requests are pushed where the document demands it, or the profile says where,
// and nowhere else.
func TestThreat141_PushedRequests(t *testing.T) {
	for _, test := range []struct {
		name              string
		require, typed    bool
		addresses, pushed bool
	}{
		{name: "document has an address and demands nothing"},
		{name: "document demands it", require: true, pushed: true},
		{name: "address typed in", typed: true, pushed: true},
		{name: "both", require: true, typed: true, pushed: true},
		{name: "addresses", addresses: true},
		{name: "addresses, and one for this", addresses: true, typed: true, pushed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{RequirePAR: test.require})
				p := w.user()
				if test.addresses {
					p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
					p.Scopes = []string{"read", "offline_access"}
				}
				if test.typed {
					p.Endpoints.PARURL = w.srv.PARURL()
				}
				p.Params = url.Values{"resource": {"https://a.example.com/", "https://b.example.com/"}, "login_hint": {"ada@example.com"}}
				w.save(p)
				f := w.begin(p, "ada")
				if _, err := w.m.Finish(t.Context(), "ada", w.consent(f)); err != nil {
					t.Error(err)
				}
				w.healthy(ada)
				list := pushes(t, w.srv)
				if !test.pushed {
					if len(list) != 0 || !parsed(t, f.URL).Query().Has("state") {
						t.Errorf("got %d pushes and the address %s, want an ordinary one", len(list), f.URL)
					}
					return
				}
				wantPushed(t, f.URL, providertest.ClientID)
				if len(list) != 1 {
					t.Fatalf("got %d pushes, want 1", len(list))
				}
				wantParams(t, "the push", list[0], "client_id", providertest.ClientID, "response_type", "code", "state", f.State,
					"redirect_uri", callbackAddress, "code_challenge_method", "S256", "login_hint", "ada@example.com", "client_secret", "", "request_uri", "")
				if got := len(list[0]["resource"]); got != 2 {
					t.Errorf("got %d values of resource pushed, want 2", got)
				}
			})
		})
	}
}

// What the authorization address itself has stays in it, and is not pushed.
func TestThreat141_QueryOfTheAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := registered(authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Scopes: []string{"read"},
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL() + "?tenant=acme%20corp", TokenURL: w.srv.TokenURL(), PARURL: w.srv.PARURL()},
		})
		wantPushed(t, w.begin(w.save(p), "ada").URL, providertest.ClientID, "tenant", "acme corp")
		wantParams(t, "the push", pushes(t, w.srv)[0], "tenant", "")
	})
}

// What protects the exchange, and what the profile says, is pushed even if the
// authorization address has a parameter of that name, which does not stay in it.
func TestThreat141_AddressThatSaysOtherwise(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		address := w.srv.AuthURL() + "?tenant=acme&prompt=none&response_type=code&state=fixed&code_challenge=fixed&redirect_uri=https%3A%2F%2Fevil.example%2F&scope=admin&request_uri=urn%3Afixed&nonce=fixed"
		p := registered(authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Scopes: []string{"read"}, Params: url.Values{"prompt": {"consent"}},
			Endpoints: authprofile.Endpoints{AuthURL: address, TokenURL: w.srv.TokenURL(), PARURL: w.srv.PARURL()},
		})
		f := w.begin(w.save(p), "ada")
		wantPushed(t, f.URL, providertest.ClientID, "tenant", "acme")
		wantParams(t, "the push", pushes(t, w.srv)[0], "tenant", "", "prompt", "consent", "response_type", "code", "state", f.State,
			"code_challenge_method", "S256", "redirect_uri", callbackAddress, "scope", "read", "nonce", "", "request_uri", "")
		if got := pushes(t, w.srv)[0].Get("code_challenge"); got == "" || got == "fixed" {
			t.Errorf("got code_challenge %q pushed, want that of the flow", got)
		}
	})
}

// The client authenticates as at the token endpoint, by any method, and is named
// in the form by all of them (RFC 9126, section 2.1).
func TestThreat141_PushesOfEveryClient(t *testing.T) {
	for _, method := range []authprofile.AuthMethod{
		authprofile.AuthBasic, authprofile.AuthBasicRaw, authprofile.AuthPost, authprofile.AuthNone, authprofile.AuthPrivateKeyJWT,
	} {
		t.Run(string(method), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{RequirePAR: true})
				key := testKeys()["P-256"]
				p := w.user()
				client := providertest.Client{ID: providertest.ClientID, AuthMethods: []string{string(method)}}
				switch p.AuthMethod = method; method {
				case authprofile.AuthNone:
					p.ClientSecret = ""
				case authprofile.AuthPrivateKeyJWT:
					p.ClientSecret, p.ClientKey = "", keyText(t, key)
					client.Keys = []crypto.PublicKey{key.Public()}
				default:
					client.Secret = providertest.ClientSecret
				}
				w.srv.AddClient(client)
				f := w.begin(w.save(p), "ada")
				wantPushed(t, f.URL, providertest.ClientID)
				wantParams(t, "the push", pushes(t, w.srv)[0], "client_id", providertest.ClientID)
				if _, err := w.m.Finish(t.Context(), "ada", w.consent(f)); err != nil {
					t.Error(err)
				}
				w.healthy(ada)
			})
		})
	}
}

// Every way in which a push can fail is an error of Begin, and nothing is stored.
func TestThreat141_153_PushesThatFail(t *testing.T) {
	const sentinel = "sentinel-of-an-answer"
	status := func(status int, body string, header ...string) providertest.Fault {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return providertest.Fault{Times: -1, Status: status, Header: h, Body: body}
	}
	good := `{"request_uri":"urn:ietf:params:oauth:request_uri:` + sentinel + `","expires_in":60}`
	for name, test := range map[string]struct {
		fault providertest.Fault
		is    error
	}{
		"400":                       {fault: status(400, `{"error":"invalid_request","error_description":"no"}`)},
		"400, not OAuth":            {fault: status(400, sentinel)},
		"401":                       {fault: status(401, `{"error":"invalid_client"}`), is: authprofile.ErrConfiguration},
		"413":                       {fault: status(413, "")},
		"429":                       {fault: status(429, "", "Retry-After", "3600")},
		"500":                       {fault: status(500, sentinel)},
		"redirect":                  {fault: status(302, "", "Location", "https://evil.example/par")},
		"redirect, posting":         {fault: status(307, "", "Location", "https://evil.example/par")},
		"200 with an error":         {fault: status(200, `{"error":"invalid_request"}`)},
		"202":                       {fault: status(202, good)},
		"no request_uri":            {fault: status(201, `{"expires_in":60}`)},
		"empty request_uri":         {fault: status(201, `{"request_uri":"","expires_in":60}`)},
		"request_uri, relative":     {fault: status(201, `{"request_uri":"/x","expires_in":60}`)},
		"request_uri, not text":     {fault: status(201, `{"request_uri":7,"expires_in":60}`)},
		"request_uri, long":         {fault: status(201, `{"request_uri":"urn:`+strings.Repeat("a", 4096)+`","expires_in":60}`)},
		"request_uri, line break":   {fault: status(201, `{"request_uri":"urn:a\r\nb","expires_in":60}`)},
		"no expires_in":             {fault: status(201, `{"request_uri":"urn:example:a"}`)},
		"expires_in of 0":           {fault: status(201, `{"request_uri":"urn:example:a","expires_in":0}`)},
		"expires_in below 0":        {fault: status(201, `{"request_uri":"urn:example:a","expires_in":-1}`)},
		"empty":                     {fault: status(201, "")},
		"a page":                    {fault: status(201, "<html>"+sentinel)},
		"broken":                    {fault: status(201, good[:len(good)-1])},
		"cut":                       {fault: providertest.Fault{Times: -1, CutAfter: 20}},
		"10 MB":                     {fault: status(201, `{"more":"`+strings.Repeat("a", 10<<20)+`",`+good[1:])},
		"dropped":                   {fault: providertest.Fault{Times: -1, Drop: true}},
		"hangs":                     {fault: providertest.Fault{Hang: true}, is: context.DeadlineExceeded},
		"slow":                      {fault: providertest.Fault{Delay: time.Minute}, is: context.DeadlineExceeded},
		"drips":                     {fault: providertest.Fault{Times: -1, Drip: time.Second}, is: context.DeadlineExceeded},
		"twice the same member":     {fault: status(201, `{"request_uri":"urn:a:b","request_uri":"urn:a:`+sentinel+`","expires_in":60}`)},
		"expires_in that is absurd": {fault: status(201, `{"request_uri":"urn:a:b","expires_in":"soon"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				store := w.countFlows()
				w.srv.SetPolicy(providertest.Policy{RequirePAR: true})
				p := w.user()
				w.srv.Fault(providertest.PAR, test.fault)
				f, err := w.m.Begin(t.Context(), p, "ada")
				var e *authprofile.Error
				switch {
				case err == nil:
					t.Fatalf("got the address %s, want an error", f.URL)
				case test.is != nil && !errors.Is(err, test.is):
					t.Errorf("got error %v, want one that is: %v", err, test.is)
				case !errors.As(err, &e) || e.Op != "begin" || e.ProfileID != "crm":
					t.Errorf("got error %#v, want an *Error of begin", err)
				case strings.Contains(fmt.Sprintf("%v %+v", err, err), sentinel):
					t.Errorf("got error %v, want none of the answer in it", err)
				}
				if got := store.puts.Load(); got != 0 {
					t.Errorf("got %d flows stored, want none", got)
				}
				if got := len(pushes(t, w.srv)); got != 1 {
					t.Errorf("got %d pushes, want 1", got)
				}

				w.srv.ClearFaults(providertest.PAR)
				w.srv.Release()
				w.authorize(p, "ada")
			})
		})
	}
}

// An endpoint that cannot be reached is an error that may pass.
func TestThreat141_EndpointThatIsAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		store := w.countFlows()
		p := w.user()
		p.Endpoints.PARURL = "https://away.example.com/par"
		_, err := w.m.Begin(t.Context(), w.save(p), "ada")
		if err == nil || errors.Is(err, authprofile.ErrConfiguration) || store.puts.Load() != 0 {
			t.Errorf("got error %v and %d flows, want one that may pass, and no flow", err, store.puts.Load())
		}
	})
}

// A provider that takes pushed requests only, and does not say where, cannot be
// asked. What was granted goes on.
func TestThreat141_NoAddressForPushes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		for _, address := range []any{nil, "", "http://login.example.com/par", 7} {
			w.srv.Mutate(providertest.Discovery, func(doc map[string]any) {
				doc["require_pushed_authorization_requests"] = true
				if doc["pushed_authorization_request_endpoint"] = address; address == nil {
					delete(doc, "pushed_authorization_request_endpoint")
				}
			})
			store := w.countFlows()
			f, err := w.m.Begin(t.Context(), p, "bob")
			var e *authprofile.FieldError
			if !errors.Is(err, authprofile.ErrConfiguration) || !errors.As(err, &e) || e.Field != "Endpoints.DiscoveryURL" {
				t.Errorf("%v: got flow %v and error %v, want ErrConfiguration for Endpoints.DiscoveryURL", address, f, err)
			}
			if got := store.puts.Load(); got != 0 {
				t.Errorf("%v: got %d flows stored, want none", address, got)
			}
			expire()
			w.token(w.m, p, asAda)
		}
		p.Endpoints.PARURL = w.srv.PARURL()
		wantPushed(t, w.begin(w.save(p), "bob").URL, providertest.ClientID)
	})
}

// RedirectHandler sends browsers to pushed requests, and keeps them if that fails.
func TestThreat141_RedirectHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		store := w.countFlows()
		w.srv.SetPolicy(providertest.Policy{RequirePAR: true})
		s, b := w.site(), &browser{user: "ada"}
		w.srv.Fault(providertest.PAR, providertest.Fault{Status: 400, Body: `{"error":"invalid_request"}`})
		resp := s.begin(b, "/connect")
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode < 400 || resp.Header.Get("Location") != "" || len(b.cookies) != 0 || store.puts.Load() != 0 {
			t.Errorf("got status %d, address %q, %d cookies, %d flows and %v; want a page with an error and nothing else: %s",
				resp.StatusCode, resp.Header.Get("Location"), len(b.cookies), store.puts.Load(), err, body)
		}
		resp = s.begin(b, "/connect")
		wantPushed(t, resp.Header.Get("Location"), providertest.ClientID)
	})
}

// Check pushes the request that it tests.
func TestThreat141_Check(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		store := w.countFlows()
		w.srv.SetPolicy(providertest.Policy{RequirePAR: true})
		p := w.user()
		step := func() authprofile.Step {
			t.Helper()
			for _, s := range w.m.Check(t.Context(), p) {
				if s.Name == "authorization" {
					return s
				}
			}
			t.Fatal("got no step authorization, want one")
			return authprofile.Step{}
		}
		if got := step(); got.Outcome != authprofile.StepPassed || len(pushes(t, w.srv)) != 1 {
			t.Errorf("got step %+v and %d pushes, want success with 1", got, len(pushes(t, w.srv)))
		}
		w.srv.Fault(providertest.PAR, providertest.Fault{Status: 413})
		if got := step(); got.Outcome != authprofile.StepFailed || !strings.Contains(got.Problem, "pushed") {
			t.Errorf("got step %+v, want the failure of the push", got)
		}
		if got := store.puts.Load(); got != 0 {
			t.Errorf("got %d flows stored, want none", got)
		}
	})
}

// A pushed request is a form (RFC 9126, section 2.1), whatever the provider wants
// at its token endpoint.
func TestThreat141_PushIsAForm(t *testing.T) {
	onScript(t, func(r *row) { r.BodyFormat = "json" }, func(t *testing.T, s *scripted) {
		const address = "https://accounts.example.com/par"
		s.on(address, `{"request_uri":"urn:example:a","expires_in":60}`)
		p := s.profile(func(p *authprofile.Profile) { p.Endpoints.PARURL = address })
		if _, err := s.m.Begin(t.Context(), p, "ada"); err != nil {
			t.Fatal(err)
		}
		if got, want := s.last(address).header.Get("Content-Type"), "application/x-www-form-urlencoded"; got != want {
			t.Errorf("got a push of Content-Type %q, want %q", got, want)
		}
	})
}
