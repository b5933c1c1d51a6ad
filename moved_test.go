package authprofile_test

import (
	"testing"

	"github.com/authprofile/authprofile"
)

// An app profile moves to another provider. Nothing of the stored grant is
// shown to that one, and there is no person to authorize it: the next token
// comes from there.
func TestAppProfileThatMovesToAnotherProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		second := anotherProvider(t, "https://second.example.com")
		both := web{"second.example.com": second.Transport(), "": w.srv.Transport()}
		w.m.HTTPClient.Transport = both
		p := w.app()
		w.token(w.m, p)
		for _, e := range []authprofile.Endpoints{
			{TokenURL: second.TokenURL()},
			{TokenURL: w.srv.TokenURL()},
			{DiscoveryURL: second.DiscoveryURL()},
			{DiscoveryURL: w.srv.DiscoveryURL()},
		} {
			p.Endpoints = e
			w.save(p)
			expire()
			w.token(w.m, p)
			w.healthy(app)
		}
		if got := second.Count("client_credentials"); got != 2 {
			t.Errorf("got %d requests to the second provider, want 2", got)
		}
		w.asked("client_credentials", 3)
	})
}
