package authprofile_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authprofile/authprofile"
)

const revocationURL = "https://accounts.example.com/revoke"

// line writes a request in one line: method, authentication, kind of body and
// parameters.
func (r *request) line() string {
	kind := "form"
	if r.isJSON {
		kind = "JSON"
	}
	if r.form == nil {
		kind = "nothing"
	}
	text, _ := url.QueryUnescape(r.form.Encode())
	return strings.TrimSpace(r.method + " " + r.auth() + " " + kind + " " + text)
}

func TestTraitRevocation(t *testing.T) {
	type how = authprofile.ProviderRequest
	const refreshForm, accessForm = "token=refresh-1&token_type_hint=refresh_token", "token=access-1&token_type_hint=access_token"
	const secret = "client_secret=" + scriptedSecret
	for _, test := range []struct {
		name   string
		how    how
		tokens []string
		want   []string
	}{
		{"by RFC 7009", how{}, nil, []string{"POST basic form " + refreshForm, "POST basic form " + accessForm}},
		{"refresh tokens", how{}, []string{"refresh_token"}, []string{"POST basic form " + refreshForm}},
		{"access tokens", how{}, []string{"access_token"}, []string{"POST basic form " + accessForm}},
		{"access tokens first", how{}, []string{"access_token", "refresh_token"}, []string{"POST basic form " + accessForm, "POST basic form " + refreshForm}},
		{"DELETE", how{Method: "DELETE"}, []string{"access_token"}, []string{"DELETE basic form " + accessForm}},
		{"none", how{Auth: "none"}, []string{"refresh_token"}, []string{"POST none form " + refreshForm}},
		{"bearer", how{Auth: "bearer", BodyFormat: "none"}, []string{"access_token"}, []string{"POST Bearer access-1 nothing"}},
		{"post", how{Auth: "client_secret_post"}, []string{"refresh_token"}, []string{"POST post form client_id=client-1&" + secret + "&" + refreshForm}},
		{"header", how{Headers: texts("Authorization", "Client {client_secret}"), BodyFormat: "none"}, []string{"access_token"}, []string{"POST Client " + scriptedSecret + " nothing"}},
		{"JSON", how{BodyFormat: "json"}, []string{"refresh_token"}, []string{"POST basic JSON " + refreshForm}},
		{"params", how{Auth: "none", BodyFormat: "json", Params: texts("a", "{token}", "b", "{client_id}", "c", "{client_secret}", "d", "{team}", "e", "x")},
			[]string{"access_token"}, []string{"POST none JSON a=access-1&b=client-1&c=" + scriptedSecret + "&d={token}&e=x"}},
		{"no params", how{Auth: "bearer", BodyFormat: "json", Params: map[string]string{}}, []string{"access_token"}, []string{"POST Bearer access-1 JSON"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onScript(t, func(r *row) {
				test.how.URL = revocationURL
				r.Revocation, r.RevocationTokens = &test.how, test.tokens
				r.Headers = texts("Example-Version", "1")
			}, func(t *testing.T, s *scripted) {
				s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"team":"{token}",`, 1))
				s.on(revocationURL, "")
				s.authorize(s.profile(nil))
				if err := s.m.Revoke(t.Context(), ada); err != nil {
					t.Error(err)
				}
				var got []string
				for _, r := range s.requests(revocationURL) {
					got = append(got, r.line())
					if r.header.Get("Example-Version") != "1" {
						t.Errorf("got the headers %v, want the row's among them", r.header)
					}
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if _, err := s.m.Grant(t.Context(), ada); !errors.Is(err, authprofile.ErrNotFound) {
					t.Errorf("got %v, want no grant any more", err)
				}
			})
		})
	}
}

// A revocation that fails says no secret, whatever the provider echoes.
func TestTraitRevocationThatFails(t *testing.T) {
	for name, how := range map[string]authprofile.ProviderRequest{
		"bearer": {Auth: "bearer", BodyFormat: "none"},
		"header": {Headers: texts("Example-Key", "{client_secret}")},
		"params": {Auth: "none", BodyFormat: "json", Params: texts("accessToken", "{token}", "clientSecret", "{client_secret}")},
	} {
		onScript(t, func(r *row) {
			how.URL = revocationURL
			r.Revocation, r.RevocationTokens = &how, []string{"access_token"}
		}, func(t *testing.T, s *scripted) {
			s.answer(revocationURL, func(r *request) *http.Response {
				return respond(403, fmt.Sprintf(`{"error":"odd access-1 %s","error_description":"access-1 %s"}`, scriptedSecret, scriptedSecret))
			})
			s.authorize(s.profile(nil))
			err := s.m.Revoke(t.Context(), ada)
			if err == nil {
				t.Fatalf("%s: got no error, want one", name)
			}
			s.leaksNothing("the error", err.Error()+fmt.Sprintf("%+v %#v", err, err))
		})
	}
}

// A public client proves nothing at the revocation endpoint either, whatever the
// row says of others.
func TestTraitRevocationOfAPublicClient(t *testing.T) {
	onScript(t, func(r *row) {
		r.Revocation = &authprofile.ProviderRequest{URL: revocationURL, Auth: "client_secret_basic"}
		r.RevocationTokens = []string{"refresh_token"}
	}, func(t *testing.T, s *scripted) {
		s.on(revocationURL, "")
		s.authorize(s.profile(func(p *authprofile.Profile) { p.ClientSecret = "" }))
		if err := s.m.Revoke(t.Context(), ada); err != nil {
			t.Error(err)
		}
		if got, want := s.last(revocationURL).line(), "POST none form client_id=client-1&token=refresh-1&token_type_hint=refresh_token"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// Where access tokens alone can be revoked, one that has ended is renewed first.
func TestRevokeRenewsWhatHasEnded(t *testing.T) {
	slack := authprofile.ProviderRequest{URL: revocationURL, Auth: "bearer", BodyFormat: "none"}
	github := authprofile.ProviderRequest{
		URL: "https://accounts.example.com/applications/{client_id}/grant", Method: "DELETE", Auth: "client_secret_basic",
		BodyFormat: "json", Params: texts("access_token", "{token}"),
	}
	for _, test := range []struct {
		name, address string
		how           authprofile.ProviderRequest
		want          string // a revocation of the token with this number
	}{
		{"as Slack has it", revocationURL, slack, "POST Bearer access-%d nothing"},
		{"as GitHub has it", "https://accounts.example.com/applications/client-1/grant", github, "DELETE basic JSON access_token=access-%d"},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := func(r *row) { r.Revocation, r.RevocationTokens = &test.how, []string{"access_token"} }
			authorized := func(t *testing.T, s *scripted) {
				s.authorize(s.profile(nil))
				s.on(test.address, "")
			}
			revokes := func(s *scripted, number, requests int) {
				s.Helper()
				if err := s.m.Revoke(s.Context(), ada); err != nil {
					s.Error(err)
				}
				s.asked(test.address, 1)
				if got, want := s.last(test.address).line(), fmt.Sprintf(test.want, number); got != want {
					s.Errorf("got %s, want %s", got, want)
				}
				s.asked(scriptedTokenURL, requests)
			}
			onScript(t, change, func(t *testing.T, s *scripted) {
				authorized(t, s)
				revokes(s, 1, 1) // it is still good
			})
			onScript(t, change, func(t *testing.T, s *scripted) {
				authorized(t, s)
				s.on(scriptedTokenURL, renewedAnswer)
				expire()
				revokes(s, 2, 2)
				wantParams(t, "the renewal", s.last(scriptedTokenURL).form, "refresh_token", "refresh-1")
			})
			onScript(t, change, func(t *testing.T, s *scripted) { // the provider has ended it
				authorized(t, s)
				s.fails(scriptedTokenURL, 400, `{"error":"invalid_grant"}`)
				expire()
				if err := s.m.Revoke(t.Context(), ada); err != nil {
					t.Errorf("got %v, want no error: it is revoked already", err)
				}
				s.asked(test.address, 0)
				if _, err := s.m.Grant(t.Context(), ada); !errors.Is(err, authprofile.ErrNotFound) {
					t.Errorf("got %v, want no grant any more", err)
				}
			})
			onScript(t, change, func(t *testing.T, s *scripted) { // the provider is away
				authorized(t, s)
				s.fails(scriptedTokenURL, 503, "")
				expire()
				if err := s.m.Revoke(t.Context(), ada); err == nil || errors.Is(err, authprofile.ErrReauthorize) {
					t.Errorf("got %v, want an error: the grant lives on there", err)
				}
				if _, err := s.m.Grant(t.Context(), ada); !errors.Is(err, authprofile.ErrNotFound) {
					t.Errorf("got %v, want no grant any more", err)
				}
			})
			onScript(t, change, func(t *testing.T, s *scripted) { // others renew it at the same time
				authorized(t, s)
				s.answer(scriptedTokenURL, func(r *request) *http.Response {
					if r.form.Get("refresh_token") != "refresh-1" {
						t.Error("got another refresh token than refresh-1, want it to be spent once")
					}
					return respond(200, renewedAnswer, "Content-Type", "application/json")
				})
				expire()
				p, err := s.m.Profile(t.Context(), "crm")
				if err != nil {
					t.Fatal(err)
				}
				other := s.manager(nil)
				other.Providers = s.m.Providers
				go other.Token(t.Context(), p, asAda)
				revokes(s, 2, 2)
				synctest.Wait()
			})
		})
	}
}

// An app has no refresh token, even where users have their access tokens renewed.
func TestTraitRefreshGrantIsForUsers(t *testing.T) {
	onScript(t, func(r *row) {
		r.RefreshGrant, r.RefreshParams = "fb_exchange_token", texts("fb_exchange_token", "{token}")
		r.App = new(authprofile.ProviderRequest)
	}, func(t *testing.T, s *scripted) {
		s.on(scriptedTokenURL, `{"access_token":"access-1","expires_in":3600}`)
		p := s.profile(func(p *authprofile.Profile) { p.ID, p.Type = "app", authprofile.TypeApp })
		if _, err := s.m.Token(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		g := s.grant(authprofile.GrantKey{ProfileID: "app"})
		if g.RefreshToken != "" || !g.RefreshExpiry.IsZero() {
			t.Errorf("got a refresh token until %v, want none", g.RefreshExpiry)
		}
	})
}
