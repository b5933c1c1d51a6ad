package authprofile_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
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
					t.Errorf("%s: got the %s: ...%q..., want it nowhere", where, f.what, text[max(0, i-60):min(len(text), i+len(f.text)+20)])
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

const (
	sentinelUser   = "ada-SENTINEL-user@example.com" // not in the text of an error, nor in a log
	sentinelSecret = "SENTINEL-client secret/+&=%"
	sentinelBody   = "SENTINEL-response-body"
	sentinelWords  = "SENTINEL-description" // for a field of an error alone, not for texts and logs
)

// sentinelHeader is how the client's secret travels.
var sentinelHeader = base64.StdEncoding.EncodeToString([]byte(providertest.ClientID + ":" + url.QueryEscape(sentinelSecret)))

// plantKey makes a client's private key, and notes it: whole, each line of it,
// and its number, in all the ways that a JWK or package fmt may write that.
func (v *vault) plantKey(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	number, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	v.plant("number of the client's key", string(number))
	v.plant("number of the client's key, decimal", new(big.Int).SetBytes(number).String())
	v.plant("client's key, DER", string(der))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for line := range strings.Lines(text) {
		v.plant("line of the client's key", strings.TrimSpace(line))
	}
	return v.plant("client's key", text)
}

// A leakTest runs flows, and shows the vault what comes out.
type leakTest struct {
	*world
	v                    *vault
	logger               *slog.Logger
	site                 *authprofile.RedirectHandler
	user, service, keyed *authprofile.Profile // keyed: a service with a key in place of a secret
}

// TestThreat135_136_137_138_140_NothingLeaks plants a sentinel in every secret
// of every type, runs all flows with every failure, and searches everything
// that came out: errors, logs, JSON, panics, pages, redirects, and what the
// provider sees in addresses.
func TestThreat135_136_137_138_140_NothingLeaks(t *testing.T) {
	v := &vault{secrets: make(map[string]string), out: make(map[string]string), values: make(map[string]int)}
	v.plant("client secret", sentinelSecret)
	v.plant("Authorization header", sentinelHeader)
	v.plant("body of an answer", sentinelBody)
	v.plant("user", sentinelUser)

	var logs bytes.Buffer
	var logMu sync.Mutex
	handler := slog.NewJSONHandler(&lockedWriter{&logMu, &logs}, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true})

	inWorld(t, func(t *testing.T, w *world) {
		l := newLeakTest(w, v, slog.New(handler))
		l.connect("success", false, nil)
		l.connect("success, handlers", true, nil)
		for name, change := range leakCallbacks {
			change := func(q url.Values) { change(v, q) }
			l.connect(name, false, change)
			l.connect(name+", handlers", true, change)
		}
		for name, fault := range leakFaults {
			for _, endpoint := range []providertest.Endpoint{providertest.Token, providertest.Revocation, providertest.Discovery, providertest.JWKS} {
				if endpoint != providertest.Token && fault.Status == 400 {
					continue // makes no difference there
				}
				l.fail(fmt.Sprintf("%s at %s", name, endpoint), endpoint, fault)
			}
		}
		l.showValues()
		l.showKey()
		l.showRequests()
	})

	logMu.Lock()
	defer logMu.Unlock()
	for line := range strings.Lines(logs.String()) {
		v.show("log", line)
		if strings.Contains(line, sentinelWords) || strings.Contains(line, sentinelUser) {
			t.Errorf("got the record %s, want neither the provider's words nor the user in it", line)
		}
		if !json.Valid([]byte(line)) {
			t.Errorf("got the record %s, want JSON", line)
		}
	}
	traced := 0
	for text, where := range v.out {
		if !strings.HasPrefix(where, "trace") {
			continue
		}
		traced++
		for _, words := range []string{sentinelWords, sentinelUser, "SENTINEL", "out_of_cheese"} {
			if strings.Contains(text, words) {
				t.Errorf("got %s told to the Trace, want nothing of the provider's words, nor the user", text)
			}
		}
	}
	if traced < 20 {
		t.Errorf("got %d texts told to the Trace, want more", traced)
	}
	v.search(t)
}

func newLeakTest(w *world, v *vault, logger *slog.Logger) *leakTest {
	l := &leakTest{world: w, v: v, logger: logger}
	w.srv.SetClientSecret(providertest.ClientID, sentinelSecret)
	w.srv.Mutate(providertest.Token, func(answer map[string]any) {
		answer["instance_key"] = "SENTINEL-extra"
		if s, ok := answer["id_token"].(string); ok {
			v.plant("ID token", s)
		}
	})
	l.site = &authprofile.RedirectHandler{User: func(*http.Request) (string, error) { return sentinelUser, nil }}
	l.forget()
	l.user = w.save(&authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: sentinelSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}, Scopes: []string{"openid", "read", "offline_access"},
	})
	l.service = w.save(&authprofile.Profile{
		ID: "app", Type: authprofile.TypeApp, ClientID: providertest.ClientID, ClientSecret: sentinelSecret,
		Endpoints: authprofile.Endpoints{TokenURL: w.srv.TokenURL()},
	})
	l.keyed = w.save(&authprofile.Profile{
		ID: "keyed", Type: authprofile.TypeApp, ClientID: "keyed", ClientKey: authprofile.Secret(v.plantKey(w.T)),
		Endpoints: authprofile.Endpoints{TokenURL: w.srv.TokenURL()},
	})
	return l
}

// forget goes on with a Manager that has nothing in memory.
func (l *leakTest) forget() {
	m := &authprofile.Manager{
		Store: &leakyStore{l.store, l.v}, HTTPClient: l.srv.Client(), Logger: l.logger, RedirectURL: callbackAddress,
		Trace: l.v.trace(),
	}
	l.Cleanup(func() { m.Shutdown(context.Background()) })
	l.m, l.site.Manager = m, m
}

// trace returns a Trace that shows the vault all that it is told.
func (v *vault) trace() *authprofile.Trace {
	show := func(values ...any) {
		for _, value := range values {
			v.showValue("trace", value)
		}
		v.show("trace", fmt.Sprintf("%+v", values))
	}
	return &authprofile.Trace{
		TokenRequest: func(ctx context.Context, r authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
			show(r)
			return ctx, func(r authprofile.TokenResult) {
				r.Took = 0
				show(r)
			}
		},
		TokenWait: func(_ context.Context, w authprofile.TokenWait) {
			w.Took = 0
			show(w, w.Err)
		},
		Transition:    func(_ context.Context, t authprofile.Transition) { show(t) },
		LeaseTakeover: func(_ context.Context, id string) { show(id) },
		StoreConflict: func(_ context.Context, id string) { show(id) },
	}
}

// showPage shows what a browser gets.
func (l *leakTest) showPage(where string, resp *http.Response) {
	l.v.show(where+", page", text(l.T, resp))
	for name, values := range resp.Header {
		if name != "Set-Cookie" && name != "Location" {
			l.v.show(where+", header "+name, strings.Join(values, " "))
		}
	}
}

// connect takes a browser through the flow, and shows what it gets, and what
// the application's own handlers do if there are any. The query of the callback
// is changed on the way.
func (l *leakTest) connect(where string, handlers bool, change func(q url.Values)) {
	v := l.v
	b := &browser{user: sentinelUser}
	rec := httptest.NewRecorder()
	l.site.Begin(rec, b.request("GET", "https://app.example.com/connect?return_to=/settings"), l.user)
	resp := b.keep(rec.Result())
	l.showPage(where, resp)
	for _, c := range b.cookies {
		v.plant("cookie", c.Value)
	}
	to := resp.Header.Get("Location")
	if to == "" {
		return
	}
	// The authorization address may have state and nonce in it, and nothing
	// else that is secret.
	u := parsed(l.T, to)
	q := u.Query()
	q.Del("state")
	q.Del("nonce")
	v.show(where+", authorization address", u.Host+u.Path+"?"+q.Encode()+q.Encode())
	back, err := l.srv.Authorize(to)
	if err != nil {
		l.Fatal(err)
	}
	cq := back.Query()
	v.plant("code", cq.Get("code"))
	if change != nil {
		change(cq)
	}
	l.site.Done, l.site.ErrorHandler = nil, nil
	if handlers {
		l.site.Done = func(_ http.ResponseWriter, r *http.Request, g *authprofile.Grant) {
			v.show(where+", request", r.URL.String()+r.RequestURI+fmt.Sprint(r.Form))
			v.showWithUser(where+", grant", g)
		}
		l.site.ErrorHandler = func(_ http.ResponseWriter, r *http.Request, err error) {
			v.show(where+", request", r.URL.String()+r.RequestURI+fmt.Sprint(r.Form))
			v.showValue(where+", error", err)
		}
	}
	rec = httptest.NewRecorder()
	l.site.ServeHTTP(rec, b.request("GET", callbackAddress+"?"+cq.Encode()))
	resp = rec.Result()
	l.showPage(where, resp)
	v.show(where+", redirect", resp.Header.Get("Location"))
	for _, c := range resp.Cookies() {
		v.show(where+", cleared cookie", c.Value)
	}
}

// leakCallbacks are what may be wrong with the query of a callback.
var leakCallbacks = map[string]func(v *vault, q url.Values){
	"two codes": func(v *vault, q url.Values) { q.Add("code", "SENTINEL-second-code") },
	"no state":  func(v *vault, q url.Values) { q.Del("state") },
	"token in query": func(v *vault, q url.Values) {
		q.Set("access_token", v.plant("token in a query", "SENTINEL-query-token"))
	},
	"another issuer": func(v *vault, q url.Values) { q.Set("iss", "https://evil.example.com") },
	"too large":      func(v *vault, q url.Values) { q.Set("x", strings.Repeat(q.Get("code"), 1000)) },
	"stolen code":    func(v *vault, q url.Values) { q.Set("code", v.plant("stolen code", "code-SENTINEL-stolen")) },
}

// leakAnswer is an error of the provider that says all that it knows.
func leakAnswer(code string) string {
	return fmt.Sprintf(`{"error":%q,"error_description":"%s %s %s %s","error_uri":"https://login.example.com/%s","extra":"%s"}`,
		code, sentinelWords, sentinelSecret, url.QueryEscape(sentinelSecret), sentinelHeader, sentinelWords, sentinelBody)
}

// leakFaults are the failures of the provider, at each of its endpoints.
var leakFaults = map[string]providertest.Fault{
	"invalid_grant":      {Status: 400, Body: leakAnswer("invalid_grant")},
	"invalid_client":     {Status: 401, Body: leakAnswer("invalid_client"), Header: http.Header{"Www-Authenticate": {sentinelBody}}},
	"unknown code":       {Status: 400, Body: leakAnswer("out_of_cheese")},
	"secret as code":     {Status: 400, Body: leakAnswer(sentinelSecret)},
	"secret, as sent":    {Status: 400, Body: leakAnswer(url.QueryEscape(sentinelSecret))},
	"what was sent":      {Status: 400, Body: leakAnswer(sentinelHeader)},
	"empty 400":          {Status: 400},
	"200 with error":     {Status: 200, Body: leakAnswer("invalid_grant")},
	"503":                {Status: 503, Body: sentinelBody, Header: http.Header{"Retry-After": {"1"}}},
	"429":                {Status: 429, Body: sentinelBody},
	"HTML":               {Status: 200, Body: "<html>" + sentinelBody, Header: http.Header{"Content-Type": {"text/html"}}},
	"no token":           {Status: 200, Body: `{"token":"` + sentinelBody + `"}`},
	"token with CRLF":    {Status: 200, Body: `{"access_token":"` + sentinelBody + `\r\nX: y","token_type":"Bearer"}`},
	"token type":         {Status: 200, Body: `{"access_token":"` + sentinelBody + `","token_type":"` + sentinelBody + `"}`},
	"redirect":           {Status: 307, Header: http.Header{"Location": {"https://evil.example.com/?x=" + sentinelBody}}},
	"truncated":          {Committed: true, CutAfter: 20},
	"lost request":       {Drop: true},
	"lost answer":        {Committed: true, Drop: true},
	"empty error object": {Status: 400, Body: `{"error":{"message":"` + sentinelBody + `"}}`},
}

// leakCalls are what is done while the provider fails.
var leakCalls = []struct {
	where string
	do    func(l *leakTest) error
}{
	{"app token", func(l *leakTest) error {
		_, err := l.m.Token(l.Context(), l.service)
		return err
	}},
	{"user token", (*leakTest).userToken},
	{"user token again", (*leakTest).userToken}, // as it is stored
	{"client", func(l *leakTest) error {
		_, err := l.m.Client(l.Context(), l.service).Get("https://api.example.com/")
		return err
	}},
	{"discover", func(l *leakTest) error {
		_, err := l.m.Discover(l.Context(), l.srv.DiscoveryURL())
		return err
	}},
}

func (l *leakTest) userToken() error {
	_, err := l.m.Token(l.Context(), l.user, authprofile.AsUser(sentinelUser))
	return err
}

// fail does all that can be done while an endpoint of the provider fails, and
// shows what comes of it.
func (l *leakTest) fail(where string, endpoint providertest.Endpoint, fault providertest.Fault) {
	fault.Times = -1
	l.forget()
	f, err := l.m.Begin(l.Context(), l.user, sentinelUser)
	if err != nil {
		l.Fatal(err)
	}
	l.v.plant("code", l.consent(f).Get("code"))
	l.srv.Fault(endpoint, fault)
	if endpoint == providertest.Discovery || endpoint == providertest.JWKS {
		l.forget()
	}
	expire()
	for _, call := range leakCalls {
		if err := call.do(l); err != nil {
			l.v.showValue(where+", "+call.where, err)
		}
	}
	l.connect(where, false, nil)
	l.connect(where+", handlers", true, nil)
	if endpoint == providertest.Revocation {
		if err := l.m.Revoke(l.Context(), authprofile.GrantKey{ProfileID: "crm", User: sentinelUser}); err != nil {
			l.v.showValue(where+", revoke", err)
		}
	}
	for g, err := range l.m.Grants(l.Context(), "crm") {
		if err != nil {
			l.Fatal(err)
		}
		l.v.plantGrant(g)
		l.v.showWithUser(where+", listed grant", g)
	}
	if err := l.m.Shutdown(l.Context()); err != nil {
		l.v.showValue(where+", shutdown", err)
	}
	l.srv.ClearFaults(endpoint)
	time.Sleep(10 * time.Minute)
	l.forget()
	l.connect(where+", healed", false, nil)
}

// showValues shows the values themselves, each full of secrets.
func (l *leakTest) showValues() {
	v := l.v
	cached, err := l.m.Token(l.Context(), l.service)
	if err != nil {
		l.Fatal(err)
	}
	v.plant("access token", cached.AccessToken)
	g := l.grant(authprofile.GrantKey{ProfileID: "crm", User: sentinelUser})
	v.plantGrant(g)
	f, err := l.m.Begin(l.Context(), l.user, sentinelUser)
	if err != nil {
		l.Fatal(err)
	}
	f.Browser = v.plant("browser", "SENTINEL-browser")
	g.Nonce = v.plant("nonce", "SENTINEL-nonce-of-grant")
	src := l.m.Source(l.Context(), l.service)
	if _, err := src.Token(); err != nil {
		l.Fatal(err)
	}
	client := l.m.Client(l.Context(), l.service)
	for where, value := range map[string]any{
		"Profile":                l.user,
		"Profile value":          *l.user,
		"Secret":                 g.AccessToken,
		"Manager":                l.m,
		"MemStore":               l.store,
		"struct with a MemStore": &struct{ Store *authprofile.MemStore }{l.store},
		"Source":                 src,
		"Client":                 client,
		"Client's transport":     client.Transport,
		"RedirectHandler":        l.site,
		"option":                 authprofile.Rejected(cached),
		"package-level source":   authprofile.Source(l.Context(), l.service.Clone()),
		"Error value":            authprofile.Error{Op: "x", User: sentinelUser, Err: err},
	} {
		v.showValue(where, value)
	}
	for where, value := range map[string]any{"Grant": g, "Grant value": *g, "Flow": f, "Flow value": *f} {
		v.showWithUser(where, value)
	}
	if err := l.m.Shutdown(l.Context()); err != nil {
		l.Fatal(err)
	}
}

// showKey shows a profile that has a key, and what comes of it. The provider
// knows neither its client nor its key.
func (l *leakTest) showKey() {
	l.forget()
	p := l.keyed
	damaged := p.Clone()
	damaged.ClientSecret, damaged.ClientKey = sentinelSecret, p.ClientKey+"\xff"
	_, refused := l.m.Token(l.Context(), p)
	_, sent := l.m.Client(l.Context(), p).Get("https://api.example.com/")
	invalid := l.m.Save(l.Context(), damaged)
	if refused == nil || sent == nil || invalid == nil {
		l.Fatalf("got %v, %v and %v, want three errors", refused, sent, invalid)
	}
	for where, value := range map[string]any{
		"Profile with a key":          p,
		"value of one":                *p,
		"list of them":                []*authprofile.Profile{p, damaged},
		"store that has one":          l.store,
		"Manager that has read one":   l.m,
		"Source of one":               l.m.Source(l.Context(), p),
		"Client of one":               l.m.Client(l.Context(), p),
		"Check of one":                l.m.Check(l.Context(), p),
		"error of its token":          refused,
		"error of its request":        sent,
		"error of a key that is none": invalid,
	} {
		l.v.showValue(where, value)
	}
	if err := l.m.Shutdown(l.Context()); err != nil {
		l.Fatal(err)
	}
}

// showRequests shows what the provider has seen that is not for it alone.
func (l *leakTest) showRequests() {
	for _, c := range l.srv.Captured() {
		u := parsed(l.T, c.URL)
		if c.Endpoint == providertest.Authorization {
			q := u.Query()
			q.Del("state")
			q.Del("nonce")
			u.RawQuery = q.Encode()
			l.v.show("query of the authorization request", fmt.Sprint(q))
		}
		l.v.show("address of a request to "+string(c.Endpoint), u.String())
		for name, values := range c.Header {
			if name != "Authorization" {
				l.v.show("header "+name+" of a request to "+string(c.Endpoint), strings.Join(values, " "))
			}
		}
		if c.Endpoint != providertest.Token && c.Endpoint != providertest.Revocation && c.Endpoint != providertest.Authorization {
			l.v.show("body of a request to "+string(c.Endpoint), c.Body+c.Header.Get("Authorization"))
		}
	}
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

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
