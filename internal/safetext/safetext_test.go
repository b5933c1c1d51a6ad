package safetext_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/safetext"
)

func TestTextAndCode(t *testing.T) {
	for _, tt := range []struct{ in, text, marked, code, markedCode string }{
		{"plain text", "plain text", "plain text", "plain text", "plain text"},
		{" a\r\nb\t ", "a b", " a??b? ", "ab", " a??b? "},
		{"a \x00 b", "a b", "a ? b", "a  b", "a ? b"},
		{"\x1b[31mred\x07", "[31mred", "?[31mred?", "[31mred", "?[31mred?"},
		{"é\u202e\u00adx\u0085y\u00a0z", "éx y z", "é??x?y?z", "xyz", "???x?y?z"},
		{"a\xffb\ufffdc", "abc", "a?b?c", "abc", "a?b?c"},
		{`"\`, `"\`, `"\`, `"\`, `"\`},
		{"\U0001f600", "\U0001f600", "\U0001f600", "", "?"},
		{"", "", "", "", ""},
	} {
		for _, got := range []struct{ name, got, want string }{
			{"text", safetext.Text(tt.in, safetext.LeaveOut), tt.text},
			{"marked text", safetext.Text(tt.in, '?'), tt.marked},
			{"code", safetext.Code(tt.in, safetext.LeaveOut), tt.code},
			{"marked code", safetext.Code(tt.in, '?'), tt.markedCode},
		} {
			if got.got != got.want {
				t.Errorf("%s of %q: got %q, want %q", got.name, tt.in, got.got, got.want)
			}
		}
	}
}

func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abc", 2, "ab"},
		{"éé", 3, "é"},
		{"éé", 1, ""},
		{"", 0, ""},
		{strings.Repeat("\x80", 4), 2, ""},
	} {
		if got := safetext.Truncate(tt.in, tt.limit); got != tt.want {
			t.Errorf("%q to %d: got %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

type wrapped struct{ secret string }

func (wrapped) Format(f fmt.State, verb rune) { safetext.Format(f, verb, `it "failed"`) }

func TestFormat(t *testing.T) {
	for verb, want := range map[string]string{
		"%v": `it "failed"`, "%+v": `it "failed"`, "%#v": `it "failed"`, "%s": `it "failed"`, "%d": `it "failed"`, "%x": `it "failed"`,
		"%q": `"it \"failed\""`,
	} {
		if got := fmt.Sprintf(verb, wrapped{"s3cret"}); got != want {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
}
