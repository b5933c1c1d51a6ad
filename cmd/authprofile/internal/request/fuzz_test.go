package request

import (
	"strings"
	"testing"
)

func FuzzReadGit(f *testing.F) {
	f.Add("protocol=https\nhost=git.example.com\npath=a/b.git\nwwwauth[]=Basic realm=\"a\"\ncapability[]=authtype\n\n")
	f.Add("capability[]=state\nstate[]=authprofile:tried=00\nhost=\x00")
	f.Add("=\n")
	f.Fuzz(func(t *testing.T, text string) {
		request, err := ReadGit(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, value := range append(append(request.challenges, request.States...), request.Protocol, request.Host, request.Username, request.Refused) {
			if strings.ContainsAny(value, "\n\x00\r") {
				t.Errorf("got %q from %q, want no control characters", value, text)
			}
		}
		request.TakesScheme()
	})
}

func FuzzReadBazel(f *testing.F) {
	f.Add(`{"uri":"https://cache.example.com/"}`)
	f.Add(`{"uri":"https://[::1]:80","uri":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		if address, err := ReadBazel(strings.NewReader(text)); err == nil && address == "" {
			t.Errorf("%q: got neither an address nor an error", text)
		}
	})
}

func FuzzReadGoauth(f *testing.F) {
	f.Add("HTTP/1.1 401 Unauthorized\nContent-Length: 19\nWWW-Authenticate: Bearer error=\"invalid_token\"\n\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		response, err := ReadGoauth(strings.NewReader(text))
		if response == nil && err == nil && text != "" {
			t.Errorf("%q: got neither a response nor an error", text)
		}
	})
}
