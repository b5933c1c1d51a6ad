package discovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile/internal/webtest"
)

// withMember returns the example document with a member as it is written.
func withMember(name, value string) string {
	return strings.Replace(webtest.Document(nil), "{", fmt.Sprintf("{%q:%s,", name, value), 1)
}

func TestThreat065_AliasesForCertificates(t *testing.T) {
	const token, revocation, par = "https://mtls.example.com/token", "https://mtls.example.com/revoke", "https://mtls.example.com/par"
	all := Aliases{token, revocation, par}
	object := func(token, revocation, par string) string {
		return fmt.Sprintf(`{"token_endpoint":%s,"revocation_endpoint":%s,"pushed_authorization_request_endpoint":%s}`, token, revocation, par)
	}
	quoted := func(s string) string { return fmt.Sprintf("%q", s) }
	for _, test := range []struct {
		name, value string
		want        Aliases
		unusable    map[string]string // the beginning of what is wrong, by member
	}{
		{"065 all", object(quoted(token), quoted(revocation), quoted(par)), all, nil},
		{"065 some, and others that do not matter", `{"token_endpoint":"` + token + `","userinfo_endpoint":"javascript:S3NT1NEL","x":7}`, Aliases{TokenURL: token}, nil},
		{"065 none", `{}`, Aliases{}, nil},
		{"065 null", `null`, Aliases{}, nil},
		{"065 null inside", object("null", quoted(revocation), "null"), Aliases{RevocationURL: revocation}, nil},
		{"065 an alias that cannot be used costs itself", object(quoted("javascript:S3NT1NEL"), quoted(revocation), quoted(par)), Aliases{"", revocation, par},
			map[string]string{MemberTLSToken: "mtls_endpoint_aliases.token_endpoint must be an absolute address"}},
		{"065 http", object(quoted(token), quoted("http://mtls.example.com/S3NT1NEL"), quoted(par)), Aliases{token, "", par},
			map[string]string{MemberTLSRevocation: "mtls_endpoint_aliases.revocation_endpoint must be https"}},
		{"065 loopback", object(quoted(token), quoted(revocation), quoted("https://127.0.0.1/S3NT1NEL")), Aliases{token, revocation, ""},
			map[string]string{MemberTLSPAR: "mtls_endpoint_aliases.pushed_authorization_request_endpoint is on a loopback host"}},
		{"065 all of them wrong", object(`7`, `""`, `["S3NT1NEL"]`), Aliases{}, map[string]string{
			MemberTLSToken:      "mtls_endpoint_aliases.token_endpoint is not a string",
			MemberTLSRevocation: "mtls_endpoint_aliases.revocation_endpoint ",
			MemberTLSPAR:        "mtls_endpoint_aliases.pushed_authorization_request_endpoint is not a string",
		}},
		{"065 an alias twice", `{"token_endpoint":"` + token + `","token_endpoint":"https://S3NT1NEL.example.com/"}`, Aliases{},
			map[string]string{MemberTLSToken: "mtls_endpoint_aliases.token_endpoint is there twice"}},
		{"065 a string", `"S3NT1NEL"`, Aliases{}, map[string]string{memberTLS: "mtls_endpoint_aliases is not an object"}},
		{"065 a list", `[{"token_endpoint":"S3NT1NEL"}]`, Aliases{}, map[string]string{memberTLS: "mtls_endpoint_aliases is not an object"}},
		{"065 twice", `{},"mtls_endpoint_aliases":{"token_endpoint":"https://S3NT1NEL.example.com/"}`, Aliases{},
			map[string]string{memberTLS: "mtls_endpoint_aliases is there twice"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			doc, problem := parse(webtest.DocumentURL, nil, []byte(withMember(memberTLS, test.value)))
			if problem != "" {
				t.Fatalf("got %q, want no problem of the document", problem)
			}
			if doc.TLS != test.want {
				t.Errorf("got %+v, want %+v", doc.TLS, test.want)
			}
			// The plain addresses are what they were: they are for all others.
			if fmt.Sprint(doc.Metadata) != fmt.Sprint(exampleMetadata) {
				t.Errorf("got %+v, want %+v", doc.Metadata, exampleMetadata)
			}
			if len(doc.unusable) != len(test.unusable) {
				t.Errorf("unusable: got %q, want %q", doc.unusable, test.unusable)
			}
			for _, member := range []string{MemberTLSToken, MemberTLSRevocation, MemberTLSPAR} {
				want, ok := test.unusable[member]
				if whole := test.unusable[memberTLS]; whole != "" { // of no alias is it known that there is none
					want, ok = whole, true
				}
				err := doc.Unusable(member)
				switch {
				case !ok && err != nil:
					t.Errorf("%s: got %v, want no error", member, err)
				case ok:
					if wantWrong(t, err, webtest.DocumentURL); err != nil && !strings.Contains(err.Error(), webtest.DocumentURL+": "+want) {
						t.Errorf("%s: got %q, want %q in it", member, err, want)
					}
				}
			}
			if err := doc.Unusable(MemberRevocation); err != nil {
				t.Errorf("the plain address: got %v, want no error", err)
			}
		})
	}

	t.Run("065 the hosts of a template", func(t *testing.T) {
		p := lookup(t, "google")
		doc, problem := parse(p.DiscoveryURL, p, []byte(webtest.Document(map[string]any{
			"issuer": "https://accounts.google.com", "token_endpoint": "https://oauth2.googleapis.com/token",
			MemberPAR: par, memberTLS: map[string]any{"token_endpoint": "https://oauth2.googleapis.com/tls", "revocation_endpoint": revocation},
		})))
		if problem != "" {
			t.Fatal(problem)
		}
		if want := (Aliases{TokenURL: "https://oauth2.googleapis.com/tls"}); doc.TLS != want || doc.PARURL != "" || doc.Unusable(MemberPAR) == nil {
			t.Errorf("got %+v and PAR at %q, want %+v and none that can be used", doc.TLS, doc.PARURL, want)
		}
		if got := fmt.Sprint(doc.Unusable(MemberTLSRevocation)); !strings.Contains(got, "mtls_endpoint_aliases.revocation_endpoint is on a host that is not the provider's") {
			t.Errorf("got %q, want that the host is not the provider's", got)
		}
	})

	for _, member := range []string{MemberTLSToken, MemberTLSRevocation, MemberTLSPAR} {
		t.Run("065 what is wrong and what moves is reported: "+member, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := webtest.New()
				c, logged := newLoggingCache(w)
				_, name, _ := strings.Cut(member, ".")
				for _, step := range []struct{ alias, want string }{
					{"https://mtls.example.com/a", ""},
					{"https://mtls.example.com/b", ""},
					{"https://evil.example.net/b", "from=https://mtls.example.com:443 to=https://evil.example.net:443"},
					{"javascript:S3NT1NEL", "cannot be used"},
				} {
					logged.Reset()
					w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(map[string]any{memberTLS: map[string]any{name: step.alias}})))
					webtest.Pass(2 * time.Hour)
					if _, err := c.Document(t.Context(), webtest.DocumentURL, nil); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					text := logged.String()
					warned := strings.Contains(text, "level=WARN") && strings.Contains(text, "member="+member+" ") && strings.Contains(text, step.want)
					if warned != (step.want != "") || strings.Contains(text, "S3NT1NEL") {
						t.Errorf("%s: got log %q, want a warning with %q, or none, and nothing of the document", step.alias, text, step.want)
					}
				}
			})
		})
	}
}

func TestThreat141_PushedAuthorizationRequests(t *testing.T) {
	const par = webtest.Issuer + "/par"
	doc, problem := parse(webtest.DocumentURL, nil, []byte(withMember(MemberPAR, fmt.Sprintf("%q", par))))
	if problem != "" || doc.PARURL != par || doc.RequirePAR || doc.Unusable(MemberPAR) != nil {
		t.Errorf("141 offered: got %+v, %q, want the address %s, and no duty", doc, problem, par)
	}
	doc, problem = parse(webtest.DocumentURL, nil, []byte(webtest.Document(map[string]any{MemberPAR: "http://idp.example.com/par", "require_pushed_authorization_requests": true})))
	if problem != "" || doc.PARURL != "" || !doc.RequirePAR {
		t.Errorf("141 required, at no usable address: got %+v, %q, want no address, and the duty", doc, problem)
	}
	wantWrong(t, doc.Unusable(MemberPAR), webtest.DocumentURL)
	wantWrong(t, doc.Missing(MemberPAR), webtest.DocumentURL)
	doc, problem = parse(webtest.DocumentURL, nil, []byte(webtest.Document(nil)))
	if problem != "" || doc.PARURL != "" || doc.RequirePAR {
		t.Errorf("141 neither: got %+v, %q, want neither", doc, problem)
	}
}

// A protection that is announced in an odd way is announced.
func TestAnnouncements(t *testing.T) {
	for name, field := range map[string]func(*Document) bool{
		"035 authorization_response_iss_parameter_supported": func(d *Document) bool { return d.IssuerParameter },
		"141 require_pushed_authorization_requests":          func(d *Document) bool { return d.RequirePAR },
	} {
		t.Run(name, func(t *testing.T) {
			_, member, _ := strings.Cut(name, " ")
			for value, want := range map[string]bool{
				`true`: true, `"true"`: true, `"True"`: true, `1`: true, `"yes"`: true, `{}`: true, `[true]`: true, `true,"` + member + `":false`: true,
				`false`: false, `null`: false, `"false"`: false, `"False"`: false, `0`: false, `""`: false,
			} {
				doc, problem := parse(webtest.DocumentURL, nil, []byte(withMember(member, value)))
				if problem != "" || field(doc) != want {
					t.Errorf("%s: got %+v, %q, want announced: %t", value, doc, problem, want)
				}
			}
		})
	}
}

func TestAuthSigningAlgs(t *testing.T) {
	for value, want := range map[string][]string{
		`["PS256","ES256"]`:     {"PS256", "ES256"},
		`["PS256",7,null]`:      {"PS256"},
		`"PS256"`:               nil,
		`null`:                  nil,
		`[]`:                    nil,
		`["A"],"unknown":["B"]`: {"A"},
	} {
		doc, problem := parse(webtest.DocumentURL, nil, []byte(withMember("token_endpoint_auth_signing_alg_values_supported", value)))
		if problem != "" || !slices.Equal(doc.AuthSigningAlgs, want) {
			t.Errorf("%s: got %+v, %q, want %q", value, doc, problem, want)
		}
	}
}
