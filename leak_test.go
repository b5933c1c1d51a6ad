package authprofile_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A vault knows every secret of a test, and what came out of the library.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string // by text: what it is
	out     map[string]string // by text: where it came out first
	values  map[string]int    // how often a kind of value was shown
}

// plant notes a secret.
func (v *vault) plant(what, text string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(text) >= 16 {
		v.secrets[text] = what
	}
	return text
}

// show notes what came out.
func (v *vault) show(where, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.out[text]; !ok {
		v.out[text] = where
	}
}

// enough reports whether a kind of value has been shown often enough.
func (v *vault) enough(kind string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values[kind]++
	return v.values[kind] > 2
}

// showValue notes a value in all the ways that it can be printed.
func (v *vault) showValue(where string, value any) {
	if err, ok := value.(error); ok && v.enough(err.Error()) {
		return
	}
	v.show(where+" by fmt", shown(value))
	v.show(where+" by slog", recorded(value))
	v.show(where+" as JSON", encoded(value))
	v.show(where+" in a panic", panicked(value))
	if err, ok := value.(error); ok {
		// Each of the errors behind it, too.
		v.show(where+" text", err.Error())
		if strings.Contains(err.Error(), "SENTINEL-description") {
			v.show(where+" text", "SENTINEL-response-body") // no better than that
		}
		seen := make(map[string]bool)
		for _, e := range chain(err) {
			if kind := fmt.Sprintf("%T %v", e, e); seen[kind] {
				continue
			} else {
				seen[kind] = true
			}
			v.show(fmt.Sprintf("%s, %T behind it", where, e), e.Error()+shown(e)+encoded(e)+recorded(e))
		}
	}
}

// panicked returns what a recovered panic with the value prints.
func panicked(value any) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(value)
}

// chain returns all errors that can be reached from err.
func chain(err error) []error {
	var list []error
	var next []error
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			next = []error{inner}
		}
	case interface{ Unwrap() []error }:
		next = e.Unwrap()
	}
	for _, e := range next {
		list = append(list, e)
		list = append(list, chain(e)...)
	}
	return list
}

// search fails if a secret is in what came out, plainly or encoded.
func (v *vault) search(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	found := make(map[string]bool)
	// All secrets are looked for at once, by their beginnings.
	const head = 10
	type form struct{ text, what string }
	forms := make(map[[head]byte][]form)
	for secret, what := range v.secrets {
		for _, text := range []string{
			secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
			base64.RawStdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
			fmt.Sprint([]byte(secret)), strings.Trim(fmt.Sprintf("%q", secret), `"`),
		} {
			forms[[head]byte([]byte(text))] = append(forms[[head]byte([]byte(text))], form{text, what})
		}
	}
	size := 0
	for text, where := range v.out {
		size += len(text)
		for i := range max(0, len(text)-head+1) {
			for _, f := range forms[[head]byte([]byte(text[i:i+head]))] {
				if strings.HasPrefix(text[i:], f.text) && !found[where+f.what] {
					found[where+f.what] = true
					t.Errorf("%s: got the %s: ...%q...", where, f.what, text[max(0, i-60):min(len(text), i+len(f.text)+20)])
				}
			}
		}
	}
	t.Logf("%d secrets, %d texts, %d bytes", len(v.secrets), len(v.out), size)
	if len(v.secrets) < 500 || len(v.out) < 500 {
		t.Errorf("got %d secrets and %d texts, want a test that has seen more", len(v.secrets), len(v.out))
	}
}

// plantGrant notes the secrets of a grant.
func (v *vault) plantGrant(g *authprofile.Grant) {
	v.plant("access token", string(g.AccessToken))
	v.plant("refresh token", string(g.RefreshToken))
	v.plant("nonce of a grant", g.Nonce)
	for name, value := range g.Extra {
		v.plant("extra "+name, string(value))
	}
}

// A leakyStore shows the vault all that a Store is given.
type leakyStore struct {
	authprofile.Store
	v *vault
}

func (s *leakyStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	s.v.plantGrant(g)
	err := s.Store.PutGrant(ctx, g)
	s.v.showWithUser("stored grant", g)
	return err
}

func (s *leakyStore) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	s.v.plant("state", f.State)
	s.v.plant("verifier", string(f.Verifier))
	s.v.plant("nonce", f.Nonce)
	s.v.plant("hash of the cookie", f.Browser)
	s.v.showWithUser("flow", f)
	return s.Store.PutFlow(ctx, f)
}

// A sentinel is planted in every secret of every type, all flows are run with
// every failure, and everything that came out is searched: errors, logs, JSON,
// panics, pages, redirects, and what the provider sees in addresses.
func TestThreat135_136_137_138_140_NothingLeaks(t *testing.T) {
	v := &vault{secrets: make(map[string]string), out: make(map[string]string), values: make(map[string]int)}
	clientSecret := v.plant("client secret", "SENTINEL-client secret/+&=%")
	authorization := v.plant("Authorization header", base64.StdEncoding.EncodeToString([]byte(providertest.ClientID+":"+url.QueryEscape(clientSecret))))
	serverSays := v.plant("body of an answer", "SENTINEL-response-body")
	described := "SENTINEL-description" // for the field alone, not for texts and logs

	var logs bytes.Buffer
	var logMu sync.Mutex
	handler := slog.NewJSONHandler(&lockedWriter{&logMu, &logs}, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true})

	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetClientSecret(providertest.ClientID, clientSecret)
		w.srv.Mutate(providertest.Token, func(answer map[string]any) {
			answer["instance_key"] = "SENTINEL-extra"
			if s, ok := answer["id_token"].(string); ok {
				v.plant("ID token", s)
			}
		})
		w.m = &authprofile.Manager{
			Store: &leakyStore{w.store, v}, HTTPClient: w.srv.Client(), Logger: slog.New(handler), RedirectURL: callbackAddress,
		}
		defer w.m.Shutdown(context.Background())
		p := w.save(&authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: authprofile.Secret(clientSecret),
			Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}, Scopes: []string{"openid", "read", "offline_access"},
		})
		service := w.save(&authprofile.Profile{
			ID: "app", Type: authprofile.TypeApp, ClientID: providertest.ClientID, ClientSecret: authprofile.Secret(clientSecret),
			Endpoints: authprofile.Endpoints{TokenURL: w.srv.TokenURL()},
		})
		user := v.plant("user", sentinelUser) // not in any error's text, nor in a log

		site := &authprofile.RedirectHandler{Manager: w.m, User: func(*http.Request) (string, error) { return user, nil }}
		page := func(where string, resp *http.Response) {
			v.show(where+", page", text(t, resp))
			for name, values := range resp.Header {
				if name != "Set-Cookie" && name != "Location" {
					v.show(where+", header "+name, strings.Join(values, " "))
				}
			}
		}
		// connect takes a browser through the flow, and shows what it gets.
		connect := func(where string, change func(q url.Values)) {
			b := &browser{user: user}
			rec := httptest.NewRecorder()
			site.Begin(rec, b.request("GET", "https://app.example.com/connect?return_to=/settings"), p)
			resp := b.keep(rec.Result())
			page(where, resp)
			for _, c := range b.cookies {
				v.plant("cookie", c.Value)
			}
			to := resp.Header.Get("Location")
			if to == "" {
				return
			}
			// The authorization address may have state and nonce in it, and
			// nothing else that is secret.
			u := parsed(t, to)
			q := u.Query()
			q.Del("state")
			q.Del("nonce")
			v.show(where+", authorization address", u.Host+u.Path+"?"+q.Encode()+q.Encode())
			back, err := w.srv.Authorize(to)
			if err != nil {
				t.Fatal(err)
			}
			cq := back.Query()
			v.plant("code", cq.Get("code"))
			if change != nil {
				change(cq)
			}
			site.Done, site.ErrorHandler = nil, nil
			if strings.HasSuffix(where, "handlers") {
				site.Done = func(_ http.ResponseWriter, r *http.Request, g *authprofile.Grant) {
					v.show(where+", request", r.URL.String()+r.RequestURI+fmt.Sprint(r.Form))
					v.showWithUser(where+", grant", g)
				}
				site.ErrorHandler = func(_ http.ResponseWriter, r *http.Request, err error) {
					v.show(where+", request", r.URL.String()+r.RequestURI+fmt.Sprint(r.Form))
					v.showValue(where+", error", err)
				}
			}
			rec = httptest.NewRecorder()
			site.ServeHTTP(rec, b.request("GET", callbackAddress+"?"+cq.Encode()))
			resp = rec.Result()
			page(where, resp)
			v.show(where+", redirect", resp.Header.Get("Location"))
			for _, c := range resp.Cookies() {
				v.show(where+", cleared cookie", c.Value)
			}
		}
		connect("success", nil)
		connect("success, handlers", nil)
		for name, change := range map[string]func(q url.Values){
			"two codes":      func(q url.Values) { q.Add("code", "SENTINEL-second-code") },
			"no state":       func(q url.Values) { q.Del("state") },
			"token in query": func(q url.Values) { q.Set("access_token", v.plant("token in a query", "SENTINEL-query-token")) },
			"another issuer": func(q url.Values) { q.Set("iss", "https://evil.example.com") },
			"too large":      func(q url.Values) { q.Set("x", strings.Repeat(q.Get("code"), 1000)) },
			"stolen code":    func(q url.Values) { q.Set("code", v.plant("stolen code", "code-SENTINEL-stolen")) },
		} {
			connect(name, change)
			connect(name+", handlers", change)
		}

		// Every failure of the provider, at each of its endpoints.
		body := func(s string) string {
			return fmt.Sprintf(`{"error":%q,"error_description":"%s %s %s %s","error_uri":"https://login.example.com/%s","extra":"%s"}`,
				s, described, clientSecret, url.QueryEscape(clientSecret), authorization, described, serverSays)
		}
		faults := map[string]providertest.Fault{
			"invalid_grant":      {Status: 400, Body: body("invalid_grant")},
			"invalid_client":     {Status: 401, Body: body("invalid_client"), Header: http.Header{"Www-Authenticate": {serverSays}}},
			"unknown code":       {Status: 400, Body: body("out_of_cheese")},
			"secret as code":     {Status: 400, Body: body(clientSecret)},
			"secret, as sent":    {Status: 400, Body: body(url.QueryEscape(clientSecret))},
			"what was sent":      {Status: 400, Body: body(authorization)},
			"empty 400":          {Status: 400},
			"200 with error":     {Status: 200, Body: body("invalid_grant")},
			"503":                {Status: 503, Body: serverSays, Header: http.Header{"Retry-After": {"1"}}},
			"429":                {Status: 429, Body: serverSays},
			"HTML":               {Status: 200, Body: "<html>" + serverSays, Header: http.Header{"Content-Type": {"text/html"}}},
			"no token":           {Status: 200, Body: `{"token":"` + serverSays + `"}`},
			"token with CRLF":    {Status: 200, Body: `{"access_token":"` + serverSays + `\r\nX: y","token_type":"Bearer"}`},
			"token type":         {Status: 200, Body: `{"access_token":"` + serverSays + `","token_type":"` + serverSays + `"}`},
			"redirect":           {Status: 307, Header: http.Header{"Location": {"https://evil.example.com/?x=" + serverSays}}},
			"truncated":          {Committed: true, CutAfter: 20},
			"lost request":       {Drop: true},
			"lost answer":        {Committed: true, Drop: true},
			"empty error object": {Status: 400, Body: `{"error":{"message":"` + serverSays + `"}}`},
		}
		for name, fault := range faults {
			fault.Times = -1
			for _, endpoint := range []providertest.Endpoint{providertest.Token, providertest.Revocation, providertest.Discovery, providertest.JWKS} {
				if endpoint != providertest.Token && fault.Status == 400 {
					continue // makes no difference there
				}
				where := fmt.Sprintf("%s at %s", name, endpoint)
				// A Manager that has nothing in memory.
				w.m = &authprofile.Manager{
					Store: &leakyStore{w.store, v}, HTTPClient: w.srv.Client(), Logger: slog.New(handler), RedirectURL: callbackAddress,
				}
				site.Manager = w.m
				f, err := w.m.Begin(t.Context(), p, user)
				if err != nil {
					t.Fatal(err)
				}
				back := w.consent(f)
				v.plant("code", back.Get("code"))
				w.srv.Fault(endpoint, fault)
				if endpoint == providertest.Discovery || endpoint == providertest.JWKS {
					w.m = &authprofile.Manager{
						Store: &leakyStore{w.store, v}, HTTPClient: w.srv.Client(), Logger: slog.New(handler), RedirectURL: callbackAddress,
					}
					site.Manager = w.m
				}
				expire()
				if _, err := w.m.Token(t.Context(), service); err != nil {
					v.showValue(where+", app token", err)
				}
				if _, err := w.m.Token(t.Context(), p, authprofile.AsUser(user)); err != nil {
					v.showValue(where+", user token", err)
					_, err = w.m.Token(t.Context(), p, authprofile.AsUser(user)) // as it is stored
					v.showValue(where+", user token again", err)
				}
				if _, err := w.m.Client(t.Context(), service).Get("https://api.example.com/"); err != nil {
					v.showValue(where+", client", err)
				}
				if _, err := w.m.Discover(t.Context(), w.srv.DiscoveryURL()); err != nil {
					v.showValue(where+", discover", err)
				}
				connect(where, nil)
				connect(where+", handlers", nil)
				if endpoint == providertest.Revocation {
					if err := w.m.Revoke(t.Context(), authprofile.GrantKey{ProfileID: "crm", User: user}); err != nil {
						v.showValue(where+", revoke", err)
					}
				}
				for g, err := range w.m.Grants(t.Context(), "crm") {
					if err != nil {
						t.Fatal(err)
					}
					v.plantGrant(g)
					v.showWithUser(where+", listed grant", g)
				}
				if err := w.m.Shutdown(t.Context()); err != nil {
					v.showValue(where+", shutdown", err)
				}
				w.srv.ClearFaults(endpoint)
				time.Sleep(10 * time.Minute)
				w.m = &authprofile.Manager{
					Store: &leakyStore{w.store, v}, HTTPClient: w.srv.Client(), Logger: slog.New(handler), RedirectURL: callbackAddress,
				}
				site.Manager = w.m
				connect(where+", healed", nil)
			}
		}

		// The values themselves, each full of secrets.
		cached, err := w.m.Token(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		v.plant("access token", cached.AccessToken)
		g := w.grant(authprofile.GrantKey{ProfileID: "crm", User: user})
		v.plantGrant(g)
		f, err := w.m.Begin(t.Context(), p, user)
		if err != nil {
			t.Fatal(err)
		}
		f.Browser = v.plant("browser", "SENTINEL-browser")
		g.Nonce = v.plant("nonce", "SENTINEL-nonce-of-grant")
		src := w.m.Source(t.Context(), service)
		if _, err := src.Token(); err != nil {
			t.Fatal(err)
		}
		client := w.m.Client(t.Context(), service)
		mem := w.store
		v.showValue("Profile", p)
		v.showValue("Profile value", *p)
		v.showWithUser("Grant", g)
		v.showWithUser("Grant value", *g)
		v.showValue("Secret", g.AccessToken)
		v.showWithUser("Flow", f)
		v.showWithUser("Flow value", *f)
		v.showValue("Manager", w.m)
		v.showValue("MemStore", mem)
		v.showValue("struct with a MemStore", &struct{ Store *authprofile.MemStore }{mem})
		v.showValue("Source", src)
		v.showValue("Client", client)
		v.showValue("Client's transport", client.Transport)
		v.showValue("RedirectHandler", site)
		v.showValue("option", authprofile.Rejected(cached))
		v.showValue("package-level source", authprofile.Source(t.Context(), service.Clone()))
		v.showValue("Error value", authprofile.Error{Op: "x", User: user, Err: err})
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}

		// What the provider has seen.
		for _, c := range w.srv.Captured() {
			u := parsed(t, c.URL)
			if c.Endpoint == providertest.Authorization {
				q := u.Query()
				q.Del("state")
				q.Del("nonce")
				u.RawQuery = q.Encode()
				v.show("query of the authorization request", fmt.Sprint(q))
			}
			v.show("address of a request to "+string(c.Endpoint), u.String())
			for name, values := range c.Header {
				if name != "Authorization" {
					v.show("header "+name+" of a request to "+string(c.Endpoint), strings.Join(values, " "))
				}
			}
			if c.Endpoint != providertest.Token && c.Endpoint != providertest.Revocation && c.Endpoint != providertest.Authorization {
				v.show("body of a request to "+string(c.Endpoint), c.Body+c.Header.Get("Authorization"))
			}
		}
	})
	logMu.Lock()
	defer logMu.Unlock()
	for line := range strings.Lines(logs.String()) {
		v.show("log", line)
		if strings.Contains(line, described) || strings.Contains(line, sentinelUser) {
			t.Errorf("got the provider's words or the user in a record: %s", line)
		}
		if !json.Valid([]byte(line)) {
			t.Errorf("got a record that is not JSON: %s", line)
		}
	}
	v.search(t)
}

// showWithUser is showValue for what may name its user in print.
func (v *vault) showWithUser(where string, value any) {
	kind, _, _ := strings.Cut(where, ",")
	if v.enough(kind) {
		return
	}
	own := &vault{out: make(map[string]string), values: make(map[string]int)}
	own.showValue(where, value)
	for text, where := range own.out {
		v.show(where, strings.ReplaceAll(text, sentinelUser, ""))
	}
}

const sentinelUser = "ada-SENTINEL-user@example.com"

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
