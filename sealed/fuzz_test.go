package sealed_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

// Values as they are in databases in use. After a change of the format they must
// still open.
const (
	goldenSecret = "the refresh token"
	goldenValue  = "sealed:1:AQJrManyLnXGLyYqVdmLcs8Lp1w2IZm4eb6OHH_qHL4QHwPTxmFw6z8ybX35KaG-Icdy8FONFUF6akPpbACm_vaA9RPj6Axxw2_GtXHodDY:bZdvA8pEQEPEGJpOdPntyRuC-Fl2nZ-VShpdC8tKrUkLyzFT0ti002Z-0Zh7"
)

var goldenKey = authprofile.GrantKey{ProfileID: "crm", User: "alice"}

func TestValuesOfEarlierVersionsOpen(t *testing.T) {
	inner := new(authprofile.MemStore)
	must(t, inner.PutGrant(t.Context(), &authprofile.Grant{GrantKey: goldenKey, RefreshToken: goldenValue}))
	g, err := sealed.New(inner, newKeyring(t, "k1")).Grant(t.Context(), goldenKey)
	if err != nil || g.RefreshToken != goldenSecret {
		t.Errorf("got %v and error %v, want the secret", g, err)
	}
}

// Profiles as versions have sealed them that did not know all fields: without
// what they did not know they still open, and what they had is still covered.
func TestProfilesOfEarlierVersionsOpen(t *testing.T) {
	first := &authprofile.Profile{ // before APIHosts
		ID: "crm", Type: authprofile.TypeApp, ClientID: "reports",
		ClientSecret: "sealed:1:AQJrMcrn-sjpeWBhqAryb9a_qmhlUWkSGOLpGy98fIR7QLA-vEogQ77bIzVtPEYTqVRGQe5DkHK4DObgmhgv2JkWyndJjvzGCUI8gLakbyE:40_rgmn1S-oLa5-N8nWGlG9lxLR911irkMpDAiCLgO1s8v2Oo8GGKMvf0RD8",
		Endpoints:    authprofile.Endpoints{TokenURL: "https://auth.example.com/token"},
	}
	second := &authprofile.Profile{ // before ClientKey and PARURL
		ID: "crm", Type: authprofile.TypeUser, ClientID: "reports", Template: authprofile.Google,
		ClientSecret: "sealed:1:AQJrMfxVJWIqmm_TBgrijqBL1YNSA_LZMuyQENjC52qYAMR-3RJ5GRzJ3585Y_nu-3OEmOINvvrVb1S_jzmkcuRarrXp4JdhzxeWH3HbJZs:SUTBGBvopJjGWKWgLMexXK3u_iUy-SOghmXmqigFAYdrqvmTxr011qN_dGPb",
		APIHosts:     []string{"api.example.com"},
	}
	for _, stored := range []*authprofile.Profile{first, second} {
		for name, edit := range map[string]func(p *authprofile.Profile){
			"nothing":           func(*authprofile.Profile) {},
			"an API host":       func(p *authprofile.Profile) { p.APIHosts = append(p.APIHosts, "evil.example.com") },
			"a PAR address":     func(p *authprofile.Profile) { p.Endpoints.PARURL = "https://evil.example.com/par" },
			"a key":             func(p *authprofile.Profile) { p.ClientKey = p.ClientSecret },
			"a key, not sealed": func(p *authprofile.Profile) { p.ClientKey = "planted" },
		} {
			c := stored.Clone()
			edit(c)
			inner := new(authprofile.MemStore)
			must(t, inner.PutProfile(t.Context(), c))
			p, err := sealed.New(inner, newKeyring(t, "k1")).Profile(t.Context(), "crm")
			if want := name == "nothing"; (err == nil) != want || err == nil && (p.ClientSecret != "the client secret" || p.ClientKey != "") {
				t.Errorf("%s with %s added: got %v and error %v, want the secret: %t", stored.Type, name, p, err, want)
			}
		}
	}
}

// FuzzOpen reads any value as if from a database. Only the one value that was
// sealed there opens, and no error quotes the value.
func FuzzOpen(f *testing.F) {
	f.Add(goldenValue)
	f.Add("the refresh token")
	f.Add("sealed:1:")
	f.Add("sealed:1::")
	f.Add("sealed:2:" + strings.TrimPrefix(goldenValue, "sealed:1:"))
	f.Add(goldenValue[:len(goldenValue)-1] + "\n")
	ring := newKeyring(f, "k1", "k0")
	f.Fuzz(func(t *testing.T, value string) {
		ctx := t.Context()
		inner := new(authprofile.MemStore)
		must(t, inner.PutProfile(ctx, &authprofile.Profile{ID: goldenKey.ProfileID, ClientSecret: authprofile.Secret(value)}))
		must(t, inner.PutGrant(ctx, &authprofile.Grant{GrantKey: goldenKey, RefreshToken: authprofile.Secret(value)}))
		s := sealed.New(inner, ring)

		g, err := s.Grant(ctx, goldenKey)
		switch {
		case value == "":
			if err != nil || g.RefreshToken != "" {
				t.Errorf("no secret: got %v and error %v, want none", g, err)
			}
		case value == goldenValue:
			if err != nil || g.RefreshToken != goldenSecret {
				t.Errorf("got %v and error %v, want the secret", g, err)
			}
		case err == nil:
			t.Errorf("opened %q", value)
		default:
			checkOpenError(t, err, value)
		}
		_, err = s.Profile(ctx, goldenKey.ProfileID)
		if err == nil {
			t.Fatalf("opened %q as another record's", value)
		}
		checkOpenError(t, err, value)
		_, err = s.ListGrants(ctx, authprofile.GrantFilter{ProfileID: goldenKey.ProfileID}, authprofile.GrantKey{}, 10)
		if (err == nil) != (value == "" || value == goldenValue) {
			t.Errorf("list: got error %v", err)
		}
	})
}

func checkOpenError(t *testing.T, err error, value string) {
	t.Helper()
	if errors.Is(err, authprofile.ErrNotFound) || errors.Is(err, authprofile.ErrConflict) {
		t.Errorf("error %v is one that a Manager acts upon", err)
	}
	text := err.Error()
	if len(text) > 300 {
		t.Errorf("error has %d bytes", len(text))
	}
	// Short pieces, such as "is", are in many texts.
	const piece = 24
	for i := 0; i+piece <= len(value); i += piece / 2 {
		if strings.Contains(text, value[i:i+piece]) {
			t.Errorf("error %q repeats the value", text)
		}
	}
}

// FuzzKeyring decrypts what may come out of a sealed value.
func FuzzKeyring(f *testing.F) {
	ring := newKeyring(f, "k1", "k0")
	// The same in every process that fuzzing starts.
	sealedText, err := base64.RawURLEncoding.DecodeString(strings.Split(goldenValue, ":")[2])
	must(f, err)
	f.Add(sealedText)
	f.Add([]byte{})
	f.Add([]byte{1, 255})
	f.Add([]byte("\x01\x02k1"))
	f.Add([]byte("\x01\x02k9 and more"))
	f.Fuzz(func(t *testing.T, ciphertext []byte) {
		got, err := ring.Decrypt(t.Context(), ciphertext)
		if (err == nil) != (string(ciphertext) == string(sealedText)) {
			t.Errorf("%q: got %q and error %v", ciphertext, got, err)
		}
		if err != nil {
			for _, c := range err.Error() {
				if c < ' ' || c > '~' {
					t.Errorf("error %q is not printable", err)
				}
			}
		}
	})
}
