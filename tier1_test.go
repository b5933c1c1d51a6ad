package authprofile_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A life is that of a grant at a provider, which a fake plays that was written
// without a look at the provider's row.
type life struct {
	provider string // of providertest.Provider
	switches []string
	template authprofile.Template // empty: as the provider

	scopes      []string
	params      url.Values
	tokenParams url.Values

	permanent bool              // the token does not end, and there is no refresh token
	extra     []string          // names in Grant.Extra
	account   bool              // Grant.Account is known without an ID token
	api       map[string]string // headers of API requests that only the application can know
	judged    bool              // what the provider says of a dead grant it says of other things, too
	halfEnded bool              // revocation ends the access token alone
	unrevoked bool              // there is no revocation
}

var lives = []life{
	{provider: "airtable", scopes: []string{"data.records:read"}, account: true, unrevoked: true},
	{provider: "atlassian", scopes: []string{"read:jira-work"}, account: true},
	{provider: "auth0/acme.eu.auth0.com", scopes: []string{"openid"}, params: url.Values{"audience": {"https://api.example.com/"}}},
	{provider: "bitbucket", account: true, unrevoked: true},
	{provider: "bitbucket", switches: []string{"scopes"}, account: true, unrevoked: true},
	{provider: "box", template: "box", account: true},
	{provider: "cognito/eu-central-1/eu-central-1_AbCdEf123", scopes: []string{"openid"}},
	{provider: "cognito/eu-central-1/eu-central-1_AbCdEf123", switches: []string{"rotation"}, scopes: []string{"openid"}},
	{provider: "docusign", template: "docusign", scopes: []string{"signature"}, account: true, unrevoked: true},
	{provider: "dropbox", scopes: []string{"files.content.read", "account_info.read"}, extra: []string{"account_id"}, account: true},
	{provider: "github", switches: []string{"app"}, account: true},
	{provider: "github", scopes: []string{"repo", "read:user"}, permanent: true, account: true},
	{provider: "github/github.example.com", template: "github-enterprise-server/github.example.com", switches: []string{"app"}, account: true},
	{provider: "gitlab", scopes: []string{"read_user"}, account: true},
	{provider: "gitlab/git.acme.test", scopes: []string{"read_user"}, account: true},
	{provider: "google", scopes: []string{"https://www.googleapis.com/auth/drive.readonly"}},
	{provider: "hubspot", scopes: []string{"oauth"}, account: true},
	{provider: "keycloak/id.example.com/acme", scopes: []string{"openid"}},
	{provider: "keycloak/id.example.com/acme/auth", switches: []string{"revoke"}, scopes: []string{"openid"}},
	{provider: "linear", scopes: []string{"read", "write"}, account: true},
	{provider: "linkedin", switches: []string{"refresh"}, scopes: []string{"openid", "profile"}, account: true},
	{provider: "microsoft/contoso.com", scopes: []string{"User.Read"}, unrevoked: true},
	{provider: "microsoft/contoso.com", switches: []string{"strings"}, scopes: []string{"openid", "User.Read"}, unrevoked: true},
	{provider: "notion", extra: []string{"workspace_id", "bot_id"}, account: true},
	{provider: "okta/acme.okta.com", scopes: []string{"openid"}},
	{provider: "okta/acme.okta.com/default", scopes: []string{"openid"}},
	{provider: "onelogin/acme", switches: []string{"refresh"}, scopes: []string{"openid"}},
	{provider: "pingone/f2aba07d-270c-42ba-8811-01af5f63d458", switches: []string{"refresh"}, scopes: []string{"openid"}},
	{provider: "pingone/f2aba07d-270c-42ba-8811-01af5f63d458/eu", switches: []string{"refresh"}, scopes: []string{"openid"}},
	{provider: "quickbooks", scopes: []string{"com.intuit.quickbooks.accounting"}, extra: []string{"realmId"}, account: true},
	{provider: "salesforce", scopes: []string{"api"}, extra: []string{"instance_url", "id"}, account: true},
	{provider: "salesforce/acme.my.salesforce.com", switches: []string{"rotation"}, scopes: []string{"api"}, extra: []string{"instance_url"}, account: true},
	{provider: "servicenow/acme.service-now.com", scopes: []string{"useraccount"}, judged: true},
	{provider: "shopify/acme", scopes: []string{"read_products", "read_orders"}, account: true, judged: true},
	{provider: "slack", switches: []string{"rotation"}, scopes: []string{"chat:write", "users:read"}, extra: []string{"team.id", "bot_user_id", "authed_user.id"}, account: true, halfEnded: true},
	{provider: "slack", scopes: []string{"chat:write"}, permanent: true, extra: []string{"team.id"}, account: true},
	{provider: "snowflake/acme.snowflakecomputing.com", scopes: []string{"session:role:ANALYST"}, extra: []string{"username"}, unrevoked: true},
	{provider: "snowflake/acme.snowflakecomputing.com", switches: []string{"single-use"}, unrevoked: true},
	{provider: "x", scopes: []string{"tweet.read", "users.read"}, account: true},
	{provider: "xero", scopes: []string{"accounting.invoices.read"}, account: true, api: map[string]string{"Xero-tenant-id": "70784a63-d24b-46a9-a4db-0e70a274b056"}},
	{provider: "zendesk/acme", scopes: []string{"read"}, account: true},
	{provider: "zoom", account: true},
}

func TestLives(t *testing.T) {
	for _, l := range lives {
		name := strings.Join(append([]string{l.provider}, l.switches...), " ")
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, providertest.Provider(l.provider, l.switches...), l.run)
		})
	}
}

func (l life) run(t *testing.T, w *world) {
	if l.template == "" {
		l.template = authprofile.Template(l.provider)
	}
	p := w.save(registered(authprofile.Profile{
		Type: authprofile.TypeUser, Template: l.template, Scopes: l.scopes, Params: l.params, TokenParams: l.tokenParams,
	}))
	key := authprofile.GrantKey{ProfileID: p.ID, User: "ada"}

	g := w.authorize(p, "ada")
	l.checkGrant(t, g)
	l.use(w, p)
	if l.permanent {
		l.revoke(w, p, key)
		return
	}

	for range 2 {
		before := w.token(w.m, p, asAda)
		after := l.renew(w, p)
		if before == after {
			t.Error("got the same token after its end, want another")
		}
		w.healthy(key)
		l.use(w, p)
	}
	l.checkGrant(t, w.grant(key))

	p.ClientSecret = "wrong"
	w.save(p)
	if err := l.fail(w, p); !errors.Is(err, authprofile.ErrConfiguration) {
		t.Errorf("wrong secret: got %v, want ErrConfiguration", err)
	}
	p.ClientSecret = providertest.ClientSecret
	w.save(p)
	l.renew(w, p)
	w.healthy(key)

	if w.srv.RevokeUser("user") == 0 {
		t.Error("got no grant at the provider, want one")
	}
	if err := l.fail(w, p); errors.Is(err, authprofile.ErrReauthorize) == l.judged {
		t.Errorf("dead grant: got %v, want ErrReauthorize at once: %t", err, !l.judged)
	}
	if g := w.grant(key); !l.judged && (g.Failure == nil || g.Failure.Reason != authprofile.ReasonRevoked) {
		t.Errorf("dead grant: got %+v, want ReasonRevoked", g.Failure)
	}
	w.authorize(p, "ada")
	l.use(w, p)
	l.revoke(w, p, key)
}

func (l life) checkGrant(t *testing.T, g *authprofile.Grant) {
	t.Helper()
	if got := g.RefreshToken != ""; got == l.permanent {
		t.Errorf("got a refresh token: %t, want %t", got, !l.permanent)
	}
	if got := g.Expiry.IsZero(); got && !l.permanent && g.Expiry.IsZero() && !l.withoutExpiry() {
		t.Errorf("got no end of the token, want one")
	}
	for _, name := range l.extra {
		if g.Extra[name] == "" {
			t.Errorf("got no %s, want it in %v", name, g.Extra)
		}
	}
	if l.account && g.Account == "" {
		t.Error("got no account, want one")
	}
}

// withoutExpiry reports whether the provider does not say when a token ends.
func (l life) withoutExpiry() bool {
	return strings.HasPrefix(l.provider, "salesforce") || l.provider == "notion"
}

// use calls the provider's API.
func (l life) use(w *world, p *authprofile.Profile) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.srv.APIURL(), nil)
	if err != nil {
		w.Fatal(err)
	}
	for name, value := range l.api {
		req.Header.Set(name, value)
	}
	resp, err := w.m.Client(w.Context(), p, asAda).Do(req)
	if err != nil {
		w.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.Errorf("API: got HTTP %d, want 200", resp.StatusCode)
	}
}

// renew returns another token than there is, which has ended.
func (l life) renew(w *world, p *authprofile.Profile) string {
	w.Helper()
	tok, err := w.m.Token(w.Context(), p, asAda)
	if err != nil {
		w.Fatal(err)
	}
	if tok.Expiry.IsZero() { // an API has refused it, after a while
		time.Sleep(2 * time.Hour)
		return w.token(w.m, p, asAda, authprofile.Rejected(tok))
	}
	time.Sleep(time.Until(tok.Expiry) + time.Minute)
	return w.token(w.m, p, asAda)
}

// fail returns why there is no other token.
func (l life) fail(w *world, p *authprofile.Profile) error {
	w.Helper()
	tok, err := w.m.Token(w.Context(), p, asAda)
	if err != nil {
		return err
	}
	if tok.Expiry.IsZero() {
		time.Sleep(2 * time.Hour)
		return w.refuses(w.m, p, nil, asAda, authprofile.Rejected(tok))
	}
	time.Sleep(time.Until(tok.Expiry) + time.Minute)
	return w.refuses(w.m, p, nil, asAda)
}

// revoke ends the grant, at the provider too if that has a way.
func (l life) revoke(w *world, p *authprofile.Profile, key authprofile.GrantKey) {
	w.Helper()
	tok := w.token(w.m, p, asAda)
	refresh := string(w.grant(key).RefreshToken)
	if err := w.m.Revoke(w.Context(), key); err != nil {
		w.Errorf("revoke: %v", err)
	}
	if _, err := w.store.Grant(w.Context(), key); !errors.Is(err, authprofile.ErrNotFound) {
		w.Errorf("after Revoke: got %v, want ErrNotFound", err)
	}
	if l.unrevoked {
		return
	}
	if w.srv.Revoke(tok) {
		w.Error("the access token is in force after Revoke, want it ended")
	}
	if refresh != "" && !l.halfEnded && w.srv.IsLive(refresh) {
		w.Error("the refresh token is accepted after Revoke, want it refused")
	}
}

// Templates of providers with a grant for applications themselves are good for app
// profiles, too.
func TestAppsAtProviders(t *testing.T) {
	for _, test := range []struct {
		provider string
		grant    string // its type; empty: client_credentials
		scopes   []string
		params   url.Values
	}{
		{provider: "atlassian"},
		{provider: "auth0/acme.eu.auth0.com", params: url.Values{"audience": {"https://api.example.com/"}}},
		{provider: "bitbucket"},
		{provider: "box", params: url.Values{"box_subject_type": {"enterprise"}, "box_subject_id": {"17"}}},
		{provider: "cognito/eu-central-1/eu-central-1_AbCdEf123"},
		{provider: "hubspot", scopes: []string{"oauth"}},
		{provider: "keycloak/id.example.com/acme"},
		{provider: "linear", scopes: []string{"read"}},
		{provider: "salesforce/acme.my.salesforce.com"},
		{provider: "servicenow/acme.service-now.com"},
		{provider: "shopify/acme"},
		{provider: "xero", scopes: []string{"accounting.invoices.read"}},
		{provider: "zendesk/acme", scopes: []string{"read"}},
		{provider: "zoom", grant: "account_credentials", params: url.Values{"account_id": {"abc123XYZ"}}},
	} {
		t.Run(test.provider, func(t *testing.T) {
			inWorldOf(t, providertest.Provider(test.provider), func(t *testing.T, w *world) {
				p := registered(authprofile.Profile{
					Type: authprofile.TypeApp, Template: authprofile.Template(test.provider), Scopes: test.scopes, Params: test.params,
				})
				tok, err := w.m.Source(t.Context(), p).Token()
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Until(tok.Expiry) + time.Minute)
				if !tok.Expiry.IsZero() {
					if again := w.token(w.m, p); again == tok.AccessToken {
						t.Error("got the same token after its end, want another")
					}
				}
				grant := test.grant
				if grant == "" {
					grant = "client_credentials"
				}
				if w.srv.Count(grant) == 0 || w.srv.Count(grant) != w.srv.Count("") {
					t.Errorf("got %d requests with %s, of %d, want all", w.srv.Count(grant), grant, w.srv.Count(""))
				}
				p.ClientSecret = "wrong"
				w.refuses(w.m, p, authprofile.ErrConfiguration)
			})
		})
	}
	for _, template := range []authprofile.Template{"github", "google", "microsoft/contoso.com", "slack"} {
		p := registered(authprofile.Profile{Type: authprofile.TypeApp, Template: template})
		var field *authprofile.FieldError
		if err := p.Validate(); !errors.As(err, &field) || field.Field != "Template" {
			t.Errorf("%s: got %v, want a FieldError for Template: it has no grant for applications", template, err)
		}
	}
}
