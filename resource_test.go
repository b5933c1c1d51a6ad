package authprofile_test

import (
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

const resourceA, resourceB = "https://a.example.com/", "https://b.example.com/x"

// withResources gives a profile two resources, for every leg that it has.
func withResources(p *authprofile.Profile) *authprofile.Profile {
	p.Params = url.Values{"resource": {resourceA, resourceB}}
	if p.Type == authprofile.TypeUser {
		p.TokenParams = url.Values{"resource": {resourceA, resourceB}}
	}
	return p
}

// resourcesSent returns the resources of the token requests of a kind.
func resourcesSent(srv *providertest.Server, grant string) (list []string) {
	for _, r := range srv.Requests() {
		if r.Grant == grant {
			list = append(list, r.Resource)
		}
	}
	return list
}

// Where a provider demands them, the resources are in every request, repeated.
func TestThreat145_ResourcesAtEveryLeg(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Resource: "required"})
		const both = resourceA + " " + resourceB
		p := w.save(withResources(w.user()))
		f := w.begin(p, "ada")
		if got := parsed(t, f.URL).Query()["resource"]; !slices.Equal(got, []string{resourceA, resourceB}) {
			t.Errorf("got resource %q in the authorization request, want both", got)
		}
		if _, err := w.m.Finish(t.Context(), "ada", w.consent(f)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			expire()
			w.token(w.m, p, asAda)
		}
		w.healthy(ada)
		w.token(w.m, w.save(withResources(w.unsavedApp())))
		for grant, want := range map[string][]string{
			"authorization_code": {both}, "refresh_token": {both, both}, "client_credentials": {both},
		} {
			if got := resourcesSent(w.srv, grant); !slices.Equal(got, want) {
				t.Errorf("%s: got resources %q, want %q", grant, got, want)
			}
		}
	})
}

// A provider that refuses resources in a renewal is asked once more without, by
// the same holder of the lease, and then without from the beginning, until the
// profile changes. The refusal spends nothing.
func TestThreat145_ResourcesThatAreRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Resource: "exchange"})
		p := w.save(withResources(w.user()))
		w.authorize(p, "ada")
		w.authorize(p, "bob")
		const both = resourceA + " " + resourceB

		a := w.process()
		leases := make(map[string]bool) // by attempt
		statuses := make(map[authprofile.Status]bool)
		a.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				statuses[c.grant.Status] = true
				if l := c.grant.Lease; l != nil {
					leases[l.Attempt] = true
				}
			}
			return c.run()
		})
		want := []string{}
		renews := func(what string, sent ...string) {
			t.Helper()
			expire()
			clear(leases)
			w.token(a.Manager, p, asAda)
			w.healthy(ada)
			if want = append(want, sent...); !slices.Equal(resourcesSent(w.srv, "refresh_token"), want) {
				t.Errorf("%s: got resources %q, want %q", what, resourcesSent(w.srv, "refresh_token"), want)
			}
			if len(leases) != 1 {
				t.Errorf("%s: got %d leases, want 1", what, len(leases))
			}
		}
		renews("first", both, "")
		renews("remembered", "")
		w.token(a.Manager, p, authprofile.AsUser("bob"))
		want = append(want, "")
		w.save(p)
		renews("forgotten with the profile's version", both, "")
		renews("remembered anew", "")
		if got := w.srv.Reuses(); got != 0 {
			t.Errorf("got %d refresh tokens used twice, want none", got)
		}
		if len(statuses) != 1 || !statuses[authprofile.StatusActive] {
			t.Errorf("got statuses %v stored, want none but active", statuses)
		}
	})
}

// A refusal of a request without resources is one, and so is a second.
func TestThreat145_RefusalsForAnotherReason(t *testing.T) {
	for name, test := range map[string]struct {
		resources bool
		body      string
		want      int
	}{
		"without resources":    {body: `{"error":"invalid_target"}`, want: 1},
		"refused without, too": {resources: true, body: `{"error":"invalid_target"}`, want: 2},
		"another error":        {resources: true, body: `{"error":"invalid_request"}`, want: 1},
		"the grant has ended":  {resources: true, body: `{"error":"invalid_grant"}`, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				if test.resources {
					withResources(p)
				}
				w.authorize(w.save(p), "ada")
				expire()
				w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Status: 400, Body: test.body})
				w.refuses(w.m, p, nil, asAda)
				w.asked("refresh_token", test.want)
			})
		})
	}
}

// If the answer to the second request is lost, the refresh token is not sent a
// third time in that renewal.
func TestThreat145_LostAnswerToTheSecondRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Resource: "exchange", Rotation: providertest.RotateReplay, Grace: time.Hour})
		p := w.save(withResources(w.user()))
		w.authorize(p, "ada")
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true})
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
		w.refuses(w.m, p, nil, asAda)
		w.asked("refresh_token", 2)
		time.Sleep(time.Minute)
		w.token(w.m, p, asAda)
		w.healthy(ada)
		if got := resourcesSent(w.srv, "refresh_token"); !slices.Equal(got[1:], []string{"", ""}) {
			t.Errorf("got resources %q after the refusal, want none", got[1:])
		}
	})
}

// Rows of providers that are known to refuse resources in a renewal say so, and
// they are never sent there.
func TestThreat145_RowsThatOmitResources(t *testing.T) {
	onScript(t, func(r *row) { r.RefreshOmit = []string{"resource"} }, func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) { withResources(p) })
		s.authorize(p)
		if got := s.last(scriptedTokenURL).form["resource"]; len(got) != 2 {
			t.Errorf("got resource %q at the exchange, want both", got)
		}
		if got := s.renews(p, scriptedTokenURL).form["resource"]; len(got) != 0 {
			t.Errorf("got resource %q in the renewal, want none", got)
		}
	})
	for name, template := range map[string]authprofile.Template{"microsoft": authprofile.Microsoft("contoso.com"), "azure-devops": "azure-devops/contoso.com"} {
		i := slices.IndexFunc(authprofile.Providers(), func(p authprofile.Provider) bool { return p.Name == name })
		if i < 0 || !slices.Contains(authprofile.Providers()[i].RefreshOmit, "resource") {
			t.Errorf("%s: got a row that sends resource in renewals, want one that does not", template)
		}
	}
	inWorldOf(t, providertest.Microsoft("contoso.com"), func(t *testing.T, w *world) {
		w.srv.SetSigning(providertest.ES256)
		p := w.save(withResources(registered(authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Template: authprofile.Microsoft("contoso.com"), Scopes: []string{"read"},
		})))
		w.authorize(p, "ada")
		expire()
		w.token(w.m, p, asAda)
		if got := resourcesSent(w.srv, "refresh_token"); !slices.Equal(got, []string{""}) {
			t.Errorf("got resources %q in renewals, want one renewal without", got)
		}
	})
}

// A resource has no fragment (RFC 8707, section 2).
func TestThreat145_Fragments(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, fragment := range []string{"https://a.example.com/#f", "https://a.example.com/#", "#"} {
			user, app := w.user(), w.unsavedApp()
			user.TokenParams = url.Values{"resource": {resourceA, fragment}}
			app.Params = url.Values{"resource": {fragment}}
			for field, p := range map[string]*authprofile.Profile{"TokenParams": user, "Params": app} {
				var e *authprofile.FieldError
				if err := w.m.Save(t.Context(), p); !errors.As(err, &e) || e.Field != field {
					t.Errorf("%s: got error %v, want a FieldError for %s", fragment, err, field)
				}
			}
			if err := w.m.Delete(t.Context(), "crm"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What protects the exchange cannot be replaced by parameters of a profile.
func TestThreat154_ParametersThatAreReserved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, name := range []string{
			"grant_type", "code", "refresh_token", "redirect_uri", "client_id", "client_secret", "code_verifier", "client_assertion",
			"client_assertion_type", "state", "nonce", "request", "request_uri", "scope", "response_mode", "response_type",
		} {
			for field, p := range map[string]*authprofile.Profile{"TokenParams": w.keyed("", testKeys()["P-256"]), "Params": w.unsavedApp()} {
				if field == "TokenParams" {
					p.TokenParams = url.Values{name: {"x"}}
				} else {
					p.Params = url.Values{name: {"x"}}
				}
				if !hasProblem(p.Validate(), field) {
					t.Errorf("%s: got %v, want a problem of %s", name, p.Validate(), field)
				}
			}
		}
	})
}
