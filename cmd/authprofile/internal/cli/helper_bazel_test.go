package cli

import "testing"

func TestHelperBazel(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "cache.example.com", "127.0.0.1")
	get := []string{"get"}
	const answer = `{"headers":{"Authorization":["Bearer TOKEN"]},"expires":"EXPIRY"}` + "\n"
	w.test("bazel", []helperTest{
		{`{"uri":"https://cache.example.com/v1?a=b"}`, get, 0, answer, ""},
		{`{"uri":"https://CACHE.example.com:8443", "later": [1]}` + "\n", get, 0, answer, ""},
		{`{"uri":"grpcs://cache.example.com/build.bazel.remote.execution.v2.ActionCache/Get"}`, get, 0, answer, ""},
		{`{"uri":"http://127.0.0.1:8080/"}`, get, 0, answer, ""},
		{`{"uri":"grpc://cache.example.com/"}`, get, 1, "", "must be https"},
		{`{"uri":"http://cache.example.com/"}`, get, 1, "", "must be https"},
		{`{"uri":"https://evil.example/?https://cache.example.com"}`, get, 1, "", `no token is given for "evil.example"`},
		{`{"uri":"https://ada:hunter2@cache.example.com/"}`, get, 1, "", "must not have a user or password"},
		{`{"uri":"https://evil.example\\@cache.example.com/"}`, get, 1, "", "no token is given"},
		{`{"uri":"https:cache.example.com"}`, get, 1, "", "no token is given"},
		{`{"uri":"https://cache.example.com\u0000"}`, get, 1, "", "no token is given"},
		{`{"uri":"https://cache.example.com\nX: y"}`, get, 1, "", "no token is given"},
		{`{"url":"https://cache.example.com"}`, get, 1, "", "the request on standard input is not"},
		{`{"uri":7}`, get, 1, "", "the request on standard input is not"},
		{`{"uri":"https://cache.example.com"}{}`, get, 1, "", "the request on standard input is not"},
		{"", get, 1, "", "the request on standard input is not"},
		{"", nil, 2, "", "get is missing"},
		{"", []string{"list"}, 2, "", "there is no command \"list\""},
	})
}
