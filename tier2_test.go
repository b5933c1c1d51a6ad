package authprofile_test

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// A documented provider is what its documentation says of one: what it is sent,
// and what it answers. Queries are written without escapes.
type documentedProvider struct {
	template        string
	discovery       string // the address of its document; empty: there is none
	issuer          string // of that document
	auth, token     string // its endpoints
	by              string // how the client authenticates: "basic" or "post"
	scope           string // of the authorization request; empty: the profile asks for none
	ask             string // what else the authorization request has
	noPKCE          bool
	clientID        string        // the name of client_id, if another
	callback        string        // what the callback has beside state and code
	code            string        // the name of code, if another
	redirectURI     string        // if not the redirect address
	json            bool          // token requests are JSON
	exchange        string        // what else the exchange has
	answer          string        // empty: as tokenAnswer
	life            time.Duration // of the access token; zero: an hour; negative: not known
	kept            string        // what Grant.Extra has among others
	granted         string        // scopes; empty: those asked for
	noRenewal       bool          // there is no refresh token
	renewal         string        // the address for renewals, if another
	renew           string        // what else a renewal has, or if it has a grant type, all
	dead            string        // a refusal that ends a grant; empty: invalid_grant
	unavailable     string        // a refusal that says: not now
	refused         string        // a refusal that may mean anything
	configuration   string        // a refusal of the client
	ends            time.Duration // after the authorization, if it is not announced; zero: not known
	isApp           bool          // there is a grant for applications
	appToken        string        // and its address, if another
	denied          string        // the error of a person who refuses, if not access_denied
	account, whoami string        // the call that says whose account it is, and its answer
	name            string        // the account
	accountHeader   string        // where the token is in it; empty: Authorization
	revocation      string        // the address
	revokes         []string
}

const (
	revokeRefresh = "token=refresh-2&token_type_hint=refresh_token"
	revokeAccess  = "token=access-2&token_type_hint=access_token"
	inBody        = "client_id=client-1&client_secret=" + scriptedSecret + "&"
	tenantGUID    = "11111111-2222-4333-8444-555555555555"
)

// both are the revocations of a provider for which either token can be revoked.
func both(prefix string) []string { return []string{prefix + revokeRefresh, prefix + revokeAccess} }

func TestDocumentedProviders(t *testing.T) {
	for _, d := range documentedProviders {
		name, _, _ := strings.Cut(d.template, "/")
		t.Run(name, func(t *testing.T) {
			inScript(t, nil, func(t *testing.T, s *scripted) { d.test(s) })
		})
	}
	var names []string
	for _, d := range documentedProviders {
		name, _, _ := strings.Cut(d.template, "/")
		names = append(names, name)
	}
	if slices.Sort(names); len(slices.Compact(names)) != 44 {
		t.Errorf("got %d providers, want 44", len(names))
	}
}

// test goes through all that the Manager does at a provider.
func (d *documentedProvider) test(s *scripted) {
	s.Helper()
	delete(s.answers, scriptedTokenURL)
	if d.discovery != "" {
		s.on(d.discovery, document(d.issuer, d.auth, d.token))
	}
	s.on(d.token, d.tokens())
	if d.account != "" {
		s.on(d.account, d.whoami)
	}
	p := s.profile(func(p *authprofile.Profile) {
		p.Template, p.Scopes = authprofile.Template(d.template), nil
		switch {
		case strings.Contains(d.scope, "openid"):
			p.Scopes = []string{"openid"}
		case d.scope != "":
			p.Scopes = []string{"read", "write"}
		}
	})

	f, q := s.begin(p)
	if got, _, _ := strings.Cut(f.URL, "?"); got != d.auth {
		s.Errorf("got an authorization at %s, want %s", got, d.auth)
	}
	want := query("response_type=code&"+cmp.Or(d.clientID, "client_id")+"="+scriptedClient, d.ask, "redirect_uri="+cmp.Or(d.redirectURI, scriptedCallback))
	if d.scope != "" {
		want.Set("scope", d.scope)
	}
	free := []string{"state"}
	if !d.noPKCE {
		want.Set("code_challenge_method", "S256")
		free = append(free, "code_challenge")
	}
	if strings.Contains(d.answer, "{id_token}") {
		free = append(free, "nonce")
	}
	wantExactly(s, "the authorization request", q, want, free...)

	back := s.back(f)
	maps.Copy(back, query(d.callback))
	began := time.Now()
	g, err := s.m.Finish(s.Context(), "ada", back)
	if err != nil {
		s.Fatal(err)
	}
	token := d.token
	r := s.last(token)
	want = query("grant_type=authorization_code&code="+back.Get(cmp.Or(d.code, "code")), "redirect_uri="+cmp.Or(d.redirectURI, scriptedCallback), d.exchange)
	free = nil
	if !d.noPKCE {
		free = []string{"code_verifier"}
	}
	d.wantTokenRequest(s, "the exchange", r, want, free...)
	d.wantGrant(s, g, began)

	if d.account != "" {
		r := s.last(d.account)
		if got := r.header.Get(cmp.Or(d.accountHeader, "Authorization")); !strings.HasSuffix(got, string(g.AccessToken)) || g.Account != d.name {
			s.Errorf("got account %q, want %q, by a request with the token", g.Account, d.name)
		}
	} else if g.Account != "" {
		s.Errorf("got account %q, want none", g.Account)
	}

	if got := g.Ends.Sub(g.Obtained.Truncate(day)); d.ends > 0 && got != d.ends {
		s.Errorf("got an end after %v, want it after %v", got, d.ends)
	}
	err = s.refuses(p, nil, "code", "", "error", cmp.Or(d.denied, "access_denied"))
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || re.ErrorCode != "access_denied" {
		s.Errorf("got %v, want access_denied", err)
	}
	d.asApp(s, p)

	number := "1"
	if !d.noRenewal {
		number = "2"
		d.renews(s, p, g)
	}
	d.revoke(s, number)
	if !d.noRenewal {
		d.refusals(s, p)
	}
}

// tokens is the provider's answer to an exchange now.
func (d *documentedProvider) tokens() string {
	return strings.NewReplacer(
		"{id_token}", idToken(map[string]any{"iss": d.issuer}),
		"{jwt}", idToken(map[string]any{"exp": time.Now().Add(2 * time.Hour).Unix()}),
	).Replace(cmp.Or(d.answer, tokenAnswer))
}

// instead asks for another token than that of g.
func instead(g *authprofile.Grant) authprofile.Option {
	return authprofile.Rejected(&oauth2.Token{AccessToken: string(g.AccessToken)})
}

// wantGrant compares what an answer has made of a grant.
func (d *documentedProvider) wantGrant(s *scripted, g *authprofile.Grant, began time.Time) {
	s.Helper()
	life := cmp.Or(d.life, time.Hour)
	if life < 0 && !g.Expiry.IsZero() || life > 0 && !g.Expiry.Equal(began.Add(life)) {
		s.Errorf("got an access token until %v, want it for %v", g.Expiry, life)
	}
	if d.noRenewal != (g.RefreshToken == "") {
		s.Errorf("got a refresh token %v, want one: %v", g.RefreshToken != "", !d.noRenewal)
	}
	for name, values := range query(d.kept) {
		if got := string(g.Extra[name]); got != values[0] {
			s.Errorf("got %s %q kept, want %q", name, got, values[0])
		}
	}
	if got := strings.Join(g.Scopes, " "); d.granted != "" && got != d.granted {
		s.Errorf("got scopes %q, want %q", got, d.granted)
	}
}

// renews wants the grant to be renewed once its token has ended.
func (d *documentedProvider) renews(s *scripted, p *authprofile.Profile, g *authprofile.Grant) {
	s.Helper()
	address := cmp.Or(d.renewal, d.token)
	s.on(address, renewedAnswer)
	time.Sleep(48 * time.Hour)
	if _, err := s.m.Token(s.Context(), p, asAda, instead(g)); err != nil {
		s.Fatal(err)
	}
	want := query("grant_type=refresh_token&refresh_token=refresh-1", d.renew)
	if strings.Contains(d.renew, "grant_type") {
		want = query(d.renew)
	}
	d.wantTokenRequest(s, "the renewal", s.last(address), want)
	if got := s.grant(ada); got.AccessToken != "access-2" {
		s.Error("got another access token stored, want that of the renewal")
	}
}

// revoke ends the grant, and compares what the provider is sent.
func (d *documentedProvider) revoke(s *scripted, number string) {
	s.Helper()
	if d.revocation != "" {
		s.on(d.revocation, "")
	}
	if err := s.m.Revoke(s.Context(), ada); err != nil {
		s.Error(err)
	}
	if d.revocation == "" {
		return
	}
	var got, want []string
	for _, r := range s.requests(d.revocation) {
		got = append(got, r.line())
	}
	for _, line := range d.revokes {
		want = append(want, strings.ReplaceAll(line, "-2", "-"+number))
	}
	if !slices.Equal(got, want) {
		s.Errorf("got the revocations %q, want %q", got, want)
	}
}

// refusals wants the provider's refusals to be understood.
func (d *documentedProvider) refusals(s *scripted, p *authprofile.Profile) {
	s.Helper()
	refused := func(refusal string) error {
		s.on(d.token, d.tokens())
		f, _ := s.begin(p)
		back := s.back(f)
		maps.Copy(back, query(d.callback))
		g, err := s.m.Finish(s.Context(), "ada", back)
		if err != nil {
			s.Fatal(err)
		}
		status, body, _ := strings.Cut(refusal, " ")
		code, err := strconv.Atoi(status)
		if err != nil {
			s.Fatal(err)
		}
		s.fails(cmp.Or(d.renewal, d.token), code, body)
		time.Sleep(48 * time.Hour)
		_, err = s.m.Token(s.Context(), p, asAda, instead(g))
		return err
	}
	for _, test := range []struct {
		refusal string
		reason  authprofile.Reason
	}{
		{d.unavailable, authprofile.ReasonUnavailable},
		{d.refused, authprofile.ReasonRefused},
		{d.configuration, authprofile.ReasonClient},
		{cmp.Or(d.dead, `400 {"error":"invalid_grant"}`), authprofile.ReasonRevoked},
	} {
		if test.refusal == "" {
			continue
		}
		if err := refused(test.refusal); err == nil {
			s.Errorf("%s: got no error, want one", test.refusal)
		}
		if f := s.grant(ada).Failure; f == nil || f.Reason != test.reason {
			s.Errorf("%s: got failure %+v, want the reason %s", test.refusal, f, test.reason)
		}
	}
}

// asApp wants a token for an application, or the profile to be refused.
func (d *documentedProvider) asApp(s *scripted, p *authprofile.Profile) {
	s.Helper()
	p = &authprofile.Profile{ID: "app", Type: authprofile.TypeApp, Template: p.Template, ClientID: scriptedClient, ClientSecret: scriptedSecret, Scopes: p.Scopes}
	err := s.m.Save(s.Context(), p)
	if !d.isApp {
		if field, ok := errors.AsType[*authprofile.FieldError](err); !ok || field.Field != "Template" {
			s.Errorf("an app profile: got %v, want a FieldError for Template", err)
		}
		return
	}
	if err != nil {
		s.Fatal(err)
	}
	address := cmp.Or(d.appToken, d.token)
	s.on(address, `{"access_token":"access-1","expires_in":3600}`)
	if _, err := s.m.Token(s.Context(), p); err != nil {
		s.Error(err)
	}
	wantParams(s.T, "the request of an application", s.last(address).form, "grant_type", "client_credentials")
	s.on(address, d.tokens())
}

// wantTokenRequest compares a token request with what is documented.
func (d *documentedProvider) wantTokenRequest(s *scripted, what string, r *request, want url.Values, free ...string) {
	s.Helper()
	if got := r.auth(); got != d.by || r.isJSON != d.json || r.method != http.MethodPost || len(r.query) > 0 {
		s.Errorf("%s: got client authentication %s, JSON %v, by %s with the query %v; want %s, JSON %v, by POST without one", what, got, r.isJSON, r.method, r.query, d.by, d.json)
	}
	if d.by == "post" {
		want.Set(cmp.Or(d.clientID, "client_id"), scriptedClient)
		want.Set("client_secret", scriptedSecret)
	}
	wantExactly(s, what, r.form, want, free...)
}

// wantExactly wants these parameters and no others, but that those which are free
// have any value.
func wantExactly(s *scripted, what string, got, want url.Values, free ...string) {
	s.Helper()
	for _, name := range free {
		want.Set(name, got.Get(name))
		if got.Get(name) == "" {
			s.Errorf("%s: got no %s, want one", what, name)
		}
	}
	if got.Encode() != want.Encode() {
		s.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// query reads parameters that are written without escapes.
func query(texts ...string) url.Values {
	q := make(url.Values)
	for _, text := range texts {
		for pair := range strings.SplitSeq(text, "&") {
			if name, value, ok := strings.Cut(pair, "="); ok {
				q.Set(name, value)
			}
		}
	}
	return q
}
