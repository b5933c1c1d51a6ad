package tokenendpoint

import "testing"

func TestTextAt(t *testing.T) {
	for _, test := range []struct{ body, path, want string }{
		{`{"id": "1"}`, "id", "1"},
		{`{"id": 17}`, "id", "17"},
		{`{"id": 12345678901234567890}`, "id", "12345678901234567890"},
		{` {"data": {"viewer": {"id": "v"}}}`, "data.viewer.id", "v"},
		{`{"data": [{"id": "a"}, {"id": "b"}]}`, "data[].id", "a"},
		{`[{"id": "a"}, {"id": "b"}]`, "[].id", "a"},
		{"\n[{}, {\"id\": \"b\"}]", "[].id", "b"},
		{`{"id": null}`, "id", ""},
		{`{"id": "1"}`, "name", ""},
		{`[]`, "[].id", ""},
		{`"text"`, "id", ""},
		{`<html>`, "id", ""},
		{``, "id", ""},
		{`{"id": "1"`, "id", "1"},
	} {
		if got := TextAt([]byte(test.body), test.path); got != test.want {
			t.Errorf("%s at %q: got %q, want %q", test.body, test.path, got, test.want)
		}
	}
}
