package authprofile

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// fieldsOf lists the fields of all FieldErrors that were joined.
func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	var fields []string
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %T, want joined errors", err)
	}
	for _, e := range joined.Unwrap() {
		var f *FieldError
		if !errors.As(e, &f) || f.Problem == "" {
			t.Errorf("got %v, want a FieldError with a problem", e)
			continue
		}
		fields = append(fields, f.Field)
	}
	return fields
}

const pemKey Secret = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n" // of RFC 8037, appendix A

func TestValidate(t *testing.T) {
	app := func(edit func(*Profile)) *Profile {
		p := &Profile{Type: TypeApp, ClientID: "c", ClientSecret: "s", Endpoints: Endpoints{TokenURL: "https://a.test/t"}}
		edit(p)
		return p
	}
	user := func(edit func(*Profile)) *Profile {
		p := &Profile{Type: TypeUser, ClientID: "c", Endpoints: Endpoints{DiscoveryURL: "https://a.test/d"}, RedirectURL: "https://me.test/cb"}
		edit(p)
		return p
	}
	nothing := func(*Profile) {}

	for _, test := range []struct {
		name string
		p    *Profile
		want string // fields, with spaces
	}{
		{"app", app(nothing), ""},
		{"app with discovery", app(func(p *Profile) { p.Endpoints = Endpoints{DiscoveryURL: "https://a.test/d"} }), ""},
		{"app on loopback", app(func(p *Profile) { p.Endpoints.TokenURL = "http://127.0.0.1:8080/t" }), ""},
		{"app with all else", app(func(p *Profile) {
			p.ID, p.Name, p.Description = "crm", "Müller & Söhne", "two\nlines"
			p.Scopes, p.Params, p.AuthMethod = []string{"a", "https://a.test/b"}, url.Values{"audience": {"x", "y"}, "resource": {"ü"}}, AuthBasicRaw
			p.Endpoints.RevocationURL, p.Endpoints.DeviceAuthURL = "https://a.test/r", "https://a.test/d"
		}), ""},
		{"user", user(nothing), ""},
		{"user with a template", user(func(p *Profile) { p.Endpoints, p.Template = Endpoints{}, Google }), ""},
		{"user with addresses", user(func(p *Profile) {
			p.Endpoints = Endpoints{AuthURL: "https://a.test/a?x=y", TokenURL: "https://a.test/t"}
		}), ""},
		{"user without a redirect address", user(func(p *Profile) { p.RedirectURL = "" }), ""},
		{"user, discovery with a revocation address", user(func(p *Profile) { p.Endpoints.RevocationURL = "https://a.test/r" }), ""},

		{"nothing at all", &Profile{}, "Type ClientID Endpoints"},
		{"every problem at once", user(func(p *Profile) {
			p.ID, p.Name, p.Description, p.Type, p.ClientID, p.ClientSecret = "a\n", "\xff", "\x00", "x", "", "\n"
			p.Endpoints, p.Template, p.Scopes, p.RedirectURL = Endpoints{AuthURL: "x"}, "no-such", []string{"a", "b c"}, "/cb"
			p.Params, p.AuthMethod = url.Values{"state": {"x"}}, "x"
		}), "ID Name Description Type ClientID ClientSecret AuthMethod Endpoints.AuthURL Endpoints.AuthURL Template Scopes[1] RedirectURL Params"},

		{"type unknown", app(func(p *Profile) { p.Type = "App" }), "Type"},
		{"template on an app", &Profile{Type: TypeApp, ClientID: "c", Template: Google}, "Template"},
		{"template and discovery", user(func(p *Profile) { p.Template = Google }), "Endpoints.DiscoveryURL"},
		{"template and revocation", user(func(p *Profile) { p.Template, p.Endpoints = Google, Endpoints{RevocationURL: "https://a.test/r"} }), "Endpoints.RevocationURL"},
		{"discovery and addresses", user(func(p *Profile) { p.Endpoints.AuthURL, p.Endpoints.TokenURL = "https://a.test/a", "https://a.test/t" }), "Endpoints.AuthURL Endpoints.TokenURL"},
		{"discovery and token address", app(func(p *Profile) { p.Endpoints.DiscoveryURL = "https://a.test/d" }), "Endpoints.TokenURL"},
		{"no provider", user(func(p *Profile) { p.Endpoints = Endpoints{} }), "Endpoints"},
		{"no provider, app", app(func(p *Profile) { p.Endpoints = Endpoints{RevocationURL: "https://a.test/r"} }), "Endpoints"},
		{"user without a token address", user(func(p *Profile) { p.Endpoints = Endpoints{AuthURL: "https://a.test/a"} }), "Endpoints.TokenURL"},
		{"user without an authorization address", user(func(p *Profile) { p.Endpoints = Endpoints{TokenURL: "https://a.test/t"} }), "Endpoints.AuthURL"},
		{"app with an authorization address", app(func(p *Profile) { p.Endpoints.AuthURL = "https://a.test/a" }), "Endpoints.AuthURL"},
		{"app with a redirect address", app(func(p *Profile) { p.RedirectURL = "https://me.test/cb" }), "RedirectURL"},

		{"secret and none", app(func(p *Profile) { p.AuthMethod = AuthNone }), "AuthMethod"},
		{"post without a secret", app(func(p *Profile) { p.AuthMethod, p.ClientSecret = AuthPost, "" }), "AuthMethod"},
		{"none without a secret", app(func(p *Profile) { p.AuthMethod, p.ClientSecret = AuthNone, "" }), ""},
		{"a method that is not there", app(func(p *Profile) { p.AuthMethod = "private_key_jwt" }), "AuthMethod"},
		{"placeholder", app(func(p *Profile) { p.ClientSecret = redacted }), "ClientSecret"},

		{"key", app(func(p *Profile) { p.ClientSecret, p.ClientKey = "", pemKey }), ""},
		{"key of a user profile", user(func(p *Profile) { p.ClientKey = pemKey }), ""},
		{"key longest", user(func(p *Profile) { p.ClientKey = pemKey + Secret(strings.Repeat("\n", maxKey-len(pemKey))) }), ""},
		{"key too long", user(func(p *Profile) { p.ClientKey = pemKey + Secret(strings.Repeat("\n", maxKey-len(pemKey)+1)) }), "ClientKey"},
		{"key not UTF-8", user(func(p *Profile) { p.ClientKey = pemKey + "\xff" }), "ClientKey"},
		{"key with a zero byte", user(func(p *Profile) { p.ClientKey = pemKey + "\x00" }), "ClientKey"},
		{"placeholder as key", user(func(p *Profile) { p.ClientKey = redacted }), "ClientKey"},
		{"key beside a secret", app(func(p *Profile) { p.ClientKey = pemKey }), "ClientKey"},
		{"placeholders", app(func(p *Profile) { p.ClientSecret, p.ClientKey = redacted, redacted }), "ClientSecret ClientKey ClientKey"},

		{"PAR address", user(func(p *Profile) {
			p.Endpoints = Endpoints{AuthURL: "https://a.test/a", TokenURL: "https://a.test/t", PARURL: "https://a.test/par"}
		}), ""},
		{"PAR address with discovery", user(func(p *Profile) { p.Endpoints.PARURL = "https://a.test/par" }), ""},
		{"PAR address with a template", user(func(p *Profile) { p.Template, p.Endpoints = Google, Endpoints{PARURL: "https://a.test/par"} }), ""},
		{"PAR address on loopback", user(func(p *Profile) { p.Endpoints.PARURL = "http://[::1]:8080/par" }), ""},
		{"PAR address and nothing else", user(func(p *Profile) { p.Endpoints = Endpoints{PARURL: "https://a.test/par"} }), "Endpoints"},
		{"PAR address in the clear", user(func(p *Profile) { p.Endpoints.PARURL = "http://a.test/par" }), "Endpoints.PARURL"},
		{"PAR address with a template, in the clear", user(func(p *Profile) { p.Template, p.Endpoints = Google, Endpoints{PARURL: "http://a.test/par"} }), "Endpoints.PARURL"},
		{"PAR address that is none", user(func(p *Profile) { p.Endpoints.PARURL = "/par" }), "Endpoints.PARURL"},
		{"PAR address of an app", app(func(p *Profile) { p.Endpoints.PARURL = "https://a.test/par" }), "Endpoints.PARURL"},

		{"ID longest", app(func(p *Profile) { p.ID = strings.Repeat("x", maxID) }), ""},
		{"ID too long", app(func(p *Profile) { p.ID = strings.Repeat("x", maxID+1) }), "ID"},
		{"ID a path", app(func(p *Profile) { p.ID = ".." }), "ID"},
		{"name too long", app(func(p *Profile) { p.Name = strings.Repeat("x", maxName+1) }), "Name"},
		{"description too long", app(func(p *Profile) { p.Description = strings.Repeat("x", maxDescription+1) }), "Description"},
		{"client ID too long", app(func(p *Profile) { p.ClientID = strings.Repeat("x", maxClient+1) }), "ClientID"},
		{"scopes too long", app(func(p *Profile) { p.Scopes = []string{strings.Repeat("x", maxList)} }), "Scopes"},
		{"params too long", app(func(p *Profile) { p.Params = url.Values{"x": {strings.Repeat("x", maxList)}} }), "Params"},
		{"params not text", app(func(p *Profile) { p.Params = url.Values{"x": {"\xff"}} }), "Params"},
		{"params without a name", app(func(p *Profile) { p.Params = url.Values{"": {"x"}} }), "Params"},
		{"params with a control character", app(func(p *Profile) { p.Params = url.Values{"a\r\nb": {"x"}} }), "Params"},
		{"048 response_type", user(func(p *Profile) { p.Params = url.Values{"response_type": {"token"}} }), "Params"},
		{"048 response_mode", user(func(p *Profile) { p.Params = url.Values{"response_mode": {"fragment"}} }), "Params"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.p.Validate()
			if got := strings.Join(fieldsOf(t, err), " "); got != test.want {
				t.Errorf("fields: got %q, want %q (%v)", got, test.want, err)
			}
		})
	}
	// A parameter that the provider sets too would come twice, or with another
	// value than that of the address.
	for _, name := range []string{
		"code", "state", "iss", "error", "error_description", "error_uri", "scope", "session_state",
		"access_token", "id_token", "token_type", "expires_in", "response",
	} {
		for _, query := range []string{name + "=x", "a=b&" + name, "%" + fmt.Sprintf("%x", name[:1]) + name[1:] + "=x", name + "=a;b", name + "=%"} {
			if got := fieldsOf(t, user(func(p *Profile) { p.RedirectURL = "https://me.test/cb?" + query }).Validate()); !slices.Equal(got, []string{"RedirectURL"}) {
				t.Errorf("redirect address with %s: got %q, want it refused", query, got)
			}
		}
	}
	if err := user(func(p *Profile) { p.RedirectURL = "https://me.test/cb?a=code&codes=1&State=2&x=error;code=" }).Validate(); err != nil {
		t.Errorf("redirect address with parameters of its own: got %v, want none", err)
	}
	for _, name := range reservedParams {
		if got := fieldsOf(t, app(func(p *Profile) { p.Params = url.Values{name: {"x"}} }).Validate()); !slices.Equal(got, []string{"Params"}) {
			t.Errorf("parameter %s: got %q, want it refused", name, got)
		}
	}
}

func TestThreat034_CharactersOfAProfile(t *testing.T) {
	for _, bad := range []string{"\r", "\n", "\x00", "\t", "\x7f", "é", "\u202e", "\xff"} {
		p := &Profile{Type: TypeUser, ClientID: "c" + bad, ClientSecret: Secret("s" + bad), RedirectURL: "https://me.test/" + bad,
			Endpoints: Endpoints{AuthURL: "https://a.test/" + bad, TokenURL: "https://a.test/" + bad}}
		err := p.Validate()
		want := []string{"ClientID", "ClientSecret", "Endpoints.AuthURL", "Endpoints.TokenURL", "RedirectURL"}
		if got := fieldsOf(t, err); !slices.Equal(got, want) {
			t.Errorf("034 %q: got %q, want %q", bad, got, want)
		}
		if text := fmt.Sprint(err); strings.Contains(text, "s"+bad) || strings.Contains(text, "me.test") {
			t.Errorf("034 %q: got %q, want no value in it", bad, text)
		}
	}
	for _, bad := range []Secret{pemKey + "\xff", redacted, "\x00" + pemKey, pemKey + Secret(strings.Repeat("x", maxKey))} {
		p := &Profile{Type: TypeUser, ClientID: "c", ClientSecret: "s", ClientKey: bad, Template: Google}
		if text := fmt.Sprint(p.Validate()); strings.Contains(text, "BEGIN") || strings.Contains(text, string(pemKey[30:40])) {
			t.Errorf("034 key: got %q, want nothing of it", text)
		}
	}
	p := &Profile{Type: TypeApp, ClientID: "a: %+&=/\\\"'~", ClientSecret: "a: %+&=/\\\"'~", Endpoints: Endpoints{TokenURL: "https://a.test/"}}
	if err := p.Validate(); err != nil {
		t.Errorf("034 printable ASCII: got %v, want no error", err)
	}
}

func TestThreat082_Scopes(t *testing.T) {
	for scope, want := range map[string]bool{
		"read": true, "https://www.googleapis.com/auth/drive.readonly": true, "a:b/c.d-e_f!#$%&'()*+,;<=>?@[]^`{|}~": true,
		"": false, "a b": false, " a": false, `a"b`: false, `a\b`: false, "a\nb": false, "a\x00": false, "é": false, "a\x7f": false,
	} {
		p := &Profile{Type: TypeApp, ClientID: "c", Endpoints: Endpoints{TokenURL: "https://a.test/"}, Scopes: []string{"ok", scope}}
		got := fieldsOf(t, p.Validate())
		if want && got != nil || !want && !slices.Equal(got, []string{"Scopes[1]"}) {
			t.Errorf("082 %q: got %q, want valid: %t", scope, got, want)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	for s, want := range map[string]bool{
		"alice": true, "Alice ": true, "😀": true, strings.Repeat("x", maxUser): true,
		strings.Repeat("x", maxUser+1): false, "\xff": false, "a\x00": false, "a\n": false, "a\u0085": false,
	} {
		if got := checkIdentifier(s, maxUser); (got == "") != want {
			t.Errorf("%.20q: got %q, want valid: %t", s, got, want)
		}
	}
}
