package address

import (
	"maps"
	"net/url"
	"slices"
	"testing"
)

func TestReadQuery(t *testing.T) {
	for _, test := range []struct {
		raw     string
		query   url.Values
		guessed []string
	}{
		{"", url.Values{}, nil},
		{"a=1&b=2&a=3", url.Values{"a": {"1", "3"}, "b": {"2"}}, nil},
		{"a=1+2%203&&=x&b", url.Values{"a": {"1 2 3"}, "": {"x"}, "b": {""}}, nil},
		{"a=1;b=2", url.Values{"a": {"1;b=2"}}, []string{"a"}},
		{"a=100%&b=%zz&%=c", url.Values{"a": {"100%"}, "b": {"%zz"}, "%": {"c"}}, []string{"a", "b", "%"}},
	} {
		query, guessed := ReadQuery(test.raw)
		if !maps.EqualFunc(query, test.query, slices.Equal) || !slices.Equal(guessed, test.guessed) {
			t.Errorf("%q: got %q, guessed %q; want %q, guessed %q", test.raw, query, guessed, test.query, test.guessed)
		}
	}
}

func TestPercentDecode(t *testing.T) {
	for _, test := range []struct {
		s, want string
		ok      bool
	}{
		{"a%2Fb", "a/b", true},
		{"%C3%A9", "é", true},
		{"50%", "50%", false},
		{"%4", "%4", false},
		{"%%41", "%A", false},
	} {
		if got, ok := PercentDecode(test.s); got != test.want || ok != test.ok {
			t.Errorf("%q: got %q, %v; want %q, %v", test.s, got, ok, test.want, test.ok)
		}
	}
}
