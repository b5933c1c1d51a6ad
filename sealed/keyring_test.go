package sealed_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/sealed"
)

// checkShowsNothing prints x in every way and looks for the secret.
func checkShowsNothing(t *testing.T, x any, secret []byte) {
	t.Helper()
	var b bytes.Buffer
	verbs := "vTtbcdoOqxXUeEfFgGs"
	if _, ok := x.(sealed.Keyring); ok {
		verbs += "p" // fmt asks no method
	}
	for _, verb := range verbs {
		for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#"} {
			fmt.Fprintf(&b, "%"+flags+string(verb)+"\n", x)
		}
	}
	if text, err := json.Marshal(x); err == nil {
		b.Write(text)
	}
	if text, err := xml.Marshal(x); err == nil {
		b.Write(text)
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "x", x)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "x", x)
	out := strings.ToLower(b.String())
	for form, s := range map[string]string{
		"as it is":   string(secret),
		"in base64":  base64.StdEncoding.EncodeToString(secret)[:8],
		"in hex":     fmt.Sprintf("%x", secret[:4]),
		"in decimal": strings.Trim(fmt.Sprint(secret[:4]), "[]"),
		"in Go":      strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret[:4]), "[]byte{"), "}"),
		"in octal":   strings.Trim(fmt.Sprintf("%o", secret[:4]), "[]"),
		"in binary":  strings.Trim(fmt.Sprintf("%b", secret[:4]), "[]"),
	} {
		if strings.Contains(out, strings.ToLower(s)) {
			t.Errorf("%T shows the secret %s", x, form)
		}
	}
}

func TestThreat135_KeysShowTheirIDs(t *testing.T) {
	if got, want := fmt.Sprintf("%d", newKey("k1")), `Key{ID:"k1"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprintf("%+v", newKeyring(t, "k3", "k2", "k1")), `Keyring{Primary:"k3" Retired:["k1" "k2"]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// What is shown cannot be read back as a key.
	text, err := json.Marshal(newKey("k1"))
	must(t, err)
	if err := json.Unmarshal(text, new(sealed.Key)); err == nil {
		t.Errorf("%s was read back", text)
	}
}

func TestNewKeyringRefuses(t *testing.T) {
	good := newKey("k1")
	long := newKey(strings.Repeat("k", 65))
	for _, test := range []struct {
		name string
		keys []sealed.Key
		want string
	}{
		{"no ID", []sealed.Key{{Secret: good.Secret}}, "ID of the primary key"},
		{"space", []sealed.Key{newKey("a b")}, "ID of the primary key"},
		{"not ASCII", []sealed.Key{newKey("é")}, "ID of the primary key"},
		{"not UTF-8", []sealed.Key{newKey("\xff")}, "ID of the primary key"},
		{"long ID", []sealed.Key{good, newKey("k2"), long}, "ID of retired key 2"},
		{"no secret", []sealed.Key{{ID: "k1"}}, `"k1", must have 32 bytes and has 0`},
		{"short", []sealed.Key{{ID: "k1", Secret: good.Secret[:31]}}, "31"},
		{"AES-128", []sealed.Key{{ID: "k1", Secret: good.Secret[:16]}}, "16"},
		{"long", []sealed.Key{good, {ID: "k2", Secret: append(good.Secret[:32:32], 1)}}, "33"},
		{"zero", []sealed.Key{{ID: "k1", Secret: make([]byte, 32)}}, "never set"},
		{"twice", []sealed.Key{good, newKey("k2"), {ID: "k1", Secret: newKey("k3").Secret}}, `retired key 2, "k1", is that of another`},
	} {
		ring, err := sealed.NewKeyring(test.keys[0], test.keys[1:]...)
		if err == nil || ring != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v and error %v, want an error with %q", test.name, ring, err, test.want)
			continue
		}
		checkShowsNothing(t, err, good.Secret)
	}
	// A secret in the place of an ID is not shown.
	if _, err := sealed.NewKeyring(sealed.Key{ID: "planted secret", Secret: []byte("k1")}); strings.Contains(err.Error(), "planted") {
		t.Errorf("error %v shows what may be a secret", err)
	}
	if _, err := sealed.NewKeyring(newKey(strings.Repeat("k", 64)), newKey("!"), newKey("~")); err != nil {
		t.Errorf("IDs at the limits: got %v, want no error", err)
	}
}

func TestKeyringKeepsItsOwnKeys(t *testing.T) {
	key := newKey("k1")
	ring, err := sealed.NewKeyring(key)
	must(t, err)
	c, err := ring.Encrypt(t.Context(), []byte("x"))
	must(t, err)
	clear(key.Secret)
	if got, err := ring.Decrypt(t.Context(), c); err != nil || string(got) != "x" {
		t.Errorf("after the caller cleared the secret: got %q and error %v, want x", got, err)
	}
}

func TestKeyringDetectsEveryChange(t *testing.T) {
	ring := newKeyring(t, "k1", "k2", "j1", "K1")
	c, err := ring.Encrypt(t.Context(), []byte("plaintext"))
	must(t, err)
	for i := range c {
		for bit := range 8 {
			d := bytes.Clone(c)
			d[i] ^= 1 << bit
			if got, err := ring.Decrypt(t.Context(), d); err == nil {
				t.Errorf("byte %d, bit %d changed: got %q, want an error", i, bit, got)
			}
		}
		if got, err := ring.Decrypt(t.Context(), c[:i]); err == nil {
			t.Errorf("cut to %d bytes: got %q, want an error", i, got)
		}
	}
	if _, err := ring.Decrypt(t.Context(), append(c, 0)); err == nil {
		t.Error("a byte more: got no error")
	}
}

func TestKeyringEncryptsDifferently(t *testing.T) {
	ring := newKeyring(t, "k1")
	salts, nonces := make(map[string]bool), make(map[string]bool)
	for range 10_000 {
		c, err := ring.Encrypt(t.Context(), []byte("same"))
		must(t, err)
		rest := c[2+len("k1"):]
		salt, nonce := string(rest[:16]), string(rest[16:28])
		if salts[salt] || nonces[nonce] {
			t.Fatal("a salt or a nonce came twice")
		}
		salts[salt], nonces[nonce] = true, true
	}
}
