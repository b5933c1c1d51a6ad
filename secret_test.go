package authprofile_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
)

// formats are ways to print a value. Those where no method is asked, as the
// documentation of Secret says, are not among them.
var formats = []string{
	"%v", "%+v", "%#v", "% v", "%s", "%10s", "%-10s", "%.3s", "%q", "%#q", "%+q", "%x", "%X", "% x", "%#x",
	"%d", "%b", "%o", "%O", "%c", "%U", "%e", "%E", "%f", "%g", "%G", "%t", "%z", "%k", "%06d", "%!",
}

// shown returns v as fmt prints it, in all ways, by itself and inside of what
// may hold it.
func shown(v any) string {
	var b strings.Builder
	type named struct{ Value any }
	for _, format := range formats {
		for _, arg := range []any{v, &v, []any{v}, [1]any{v}, map[string]any{"key": v}, named{v}, &named{v}} {
			fmt.Fprintf(&b, format+"\n", arg)
		}
	}
	fmt.Fprint(&b, v)
	fmt.Fprintln(&b, v, []any{v})
	for _, wrong := range []string{"none", "%d %[1]*d %s", "%[5]d %.*d"} { // too few, too many, of the wrong kind
		fmt.Fprintf(&b, wrong, v, v)
	}
	b.WriteString(fmt.Errorf("wrapped: %v", v).Error())
	return b.String()
}

// recorded returns v as slog records it.
func recorded(v any) string {
	var b bytes.Buffer
	opts := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, opts), slog.NewJSONHandler(&b, opts)} {
		l := slog.New(h)
		l.Debug("message", "key", v)
		l.Info("message", slog.Group("group", slog.Any("key", v)), slog.Any("list", []any{v}))
		l.With("key", v).WithGroup("g").Error("message", "map", map[string]any{"key": v})
	}
	return b.String()
}

// encoded returns v as JSON, alone and inside of what may hold it.
func encoded(v any) string {
	var b strings.Builder
	for _, arg := range []any{v, &v, []any{v}, map[string]any{"key": v}, struct{ Value any }{v}} {
		text, err := json.Marshal(arg)
		b.Write(text)
		if err != nil {
			b.WriteString(err.Error())
		}
	}
	return b.String()
}

func TestSecretShowsItself(t *testing.T) {
	const text = "hunter2-é\x00"
	s := authprofile.Secret(text)
	if string(s) != text {
		t.Errorf("got %q, want the text itself by conversion", string(s))
	}
	for _, format := range formats {
		got := fmt.Sprintf(format, s)
		if format != "%!" && !strings.Contains(got, "[redacted]") {
			t.Errorf("%s: got %q, want [redacted]", format, got)
		}
	}
	holders := []any{
		s, &s, []authprofile.Secret{s}, map[string]authprofile.Secret{"k": s},
		struct{ S authprofile.Secret }{s}, &struct{ S *authprofile.Secret }{&s}, struct{ authprofile.Secret }{s},
	}
	for _, v := range holders {
		for name, got := range map[string]string{"fmt": shown(v), "slog": recorded(v), "JSON": encoded(v)} {
			if strings.Contains(got, "hunter2") || strings.Contains(strings.ToLower(got), "68756e746572") {
				t.Errorf("%s of a %T: got the secret, want [redacted]", name, v)
			}
			if !strings.Contains(got, "[redacted]") {
				t.Errorf("%s of a %T: got no [redacted], want it in place of the secret", name, v)
			}
		}
	}
	type element struct{ S authprofile.Secret }
	if got, err := xml.Marshal(element{s}); err != nil || strings.Contains(string(got), "hunter2") {
		t.Errorf("XML: got %s, %v; want it without the secret", got, err)
	}
	if got := s.String() + s.GoString() + s.LogValue().String(); got != `[redacted]"[redacted]"[redacted]` {
		t.Errorf("got %q, want nothing but [redacted]", got)
	}
	var none authprofile.Secret
	if got := fmt.Sprintf("%v|%s|%q|%#v|%d", none, none, none, none, none); got != `||""|""|` {
		t.Errorf("got %s, want an empty secret to show itself as empty", got)
	}
}

func TestSecretIsNotReadBackAsItsPlaceholder(t *testing.T) {
	var s authprofile.Secret
	if err := json.Unmarshal([]byte(`"hunter2"`), &s); err != nil || s != "hunter2" {
		t.Errorf("got %q, %v; want the text", string(s), err)
	}
	var fe *authprofile.FieldError
	if err := json.Unmarshal([]byte(`"[redacted]"`), &s); !errors.As(err, &fe) || s != "hunter2" {
		t.Errorf("got %q, %v; want a *FieldError and nothing changed", string(s), err)
	}
	if err := s.UnmarshalText([]byte("[redacted]")); !errors.As(err, &fe) {
		t.Errorf("got %v, want a *FieldError", err)
	}
	var p authprofile.Profile
	if err := json.Unmarshal([]byte(`{"client_id":"c","client_secret":"[redacted]"}`), &p); !errors.As(err, &fe) {
		t.Errorf("got %v, want a *FieldError", err)
	}
	if err := json.Unmarshal([]byte(`{"client_id":"c","client_secret":""}`), &p); err != nil || p.ClientSecret != "" {
		t.Errorf("got %v, want an empty secret to be read", err)
	}
}

// FuzzSecretText: any text goes in as it is, but for the placeholder; none
// comes out.
func FuzzSecretText(f *testing.F) {
	for _, seed := range []string{"", "hunter2", "[redacted]", " [redacted]", "[REDACTED]", "\x00\xff", "%s%d", `"\`, "redacted"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		before := authprofile.Secret("before")
		s := before
		err := s.UnmarshalText([]byte(text))
		if text == "[redacted]" {
			var fe *authprofile.FieldError
			if !errors.As(err, &fe) || s != before {
				t.Fatalf("got %q, %v; want a *FieldError and nothing changed", string(s), err)
			}
			return
		}
		if err != nil || string(s) != text {
			t.Fatalf("got %q, %v; want the text as it is", string(s), err)
		}
		want := "[redacted]"
		if text == "" {
			want = ""
		}
		out, err := s.MarshalText()
		if err != nil || string(out) != want {
			t.Errorf("got text %q, %v; want %q", out, err, want)
		}
		for _, format := range []string{"%v", "%s", "%d", "%x", "%+v", "%z"} {
			if got := fmt.Sprintf(format, s); got != want {
				t.Errorf("%s: got %q, want %q", format, got, want)
			}
		}
		for _, format := range []string{"%q", "%#v"} {
			if got := fmt.Sprintf(format, s); got != `"`+want+`"` {
				t.Errorf("%s: got %q, want %q in quotes", format, got, want)
			}
		}
		// Whatever is shown of it is refused on its way back, or is nothing.
		var back authprofile.Secret
		if text, err := json.Marshal(s); err != nil || want != "" && json.Unmarshal(text, &back) == nil {
			t.Errorf("got %q, %v; want what was shown to be refused", string(back), err)
		}
	})
}
