package providertest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The memory of a Server that is used for long, or for much, is bounded.
func TestMemoryIsBounded(t *testing.T) {
	s := NewServer(t, InMemory("https://login.example.com"))
	send := func(pairs ...string) {
		t.Helper()
		v := url.Values{"client_id": {ClientID}, "client_secret": {ClientSecret}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		resp, err := s.Client().Post(s.TokenURL(), "application/x-www-form-urlencoded", strings.NewReader(v.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("got %s, want 200", resp.Status)
		}
	}

	for range 3000 {
		send("grant_type", "client_credentials")
		s.Advance(time.Minute)
	}
	if got := len(s.state.access); got > 1500 {
		t.Errorf("got %d access tokens in memory, want few more than the 60 that are valid", got)
	}

	back, err := s.Authorize(s.AuthURL() + "?response_type=code&scope=offline_access&redirect_uri=https://app.example.com/&client_id=" + ClientID)
	if err != nil {
		t.Fatal(err)
	}
	send("grant_type", "authorization_code", "code", back.Query().Get("code"), "redirect_uri", "https://app.example.com/")
	var g *userGrant
	for _, r := range s.state.refresh {
		g = r.grant
	}
	first := g.current
	for range maxSpent + 100 {
		send("grant_type", "refresh_token", "refresh_token", g.current)
	}
	if got := len(s.state.refresh); got > maxSpent+1 {
		t.Errorf("got %d refresh tokens in memory, want %d", got, maxSpent+1)
	}
	if s.IsLive(first) || !s.IsCurrent(g.current) {
		t.Error("the first refresh token must be forgotten, and the last be current")
	}

	for range 40 {
		send("grant_type", "client_credentials", "audience", strings.Repeat("a", maxBody-200))
	}
	bytes := 0
	for _, c := range s.Captured() {
		bytes += len(c.Body)
	}
	if bytes > maxCapturedBytes || bytes < maxCapturedBytes/2 {
		t.Errorf("got %d bytes captured, want %d at most, and the latest", bytes, maxCapturedBytes)
	}
	if got, want := s.Count(""), 3000+1+maxSpent+100+40; got != want {
		t.Errorf("got %d requests counted, want %d", got, want)
	}
}

func TestClockAndPolicy(t *testing.T) {
	s := NewServer(t)
	s.Advance(time.Hour)
	if d := time.Until(s.Now()); d < 59*time.Minute || d > time.Hour {
		t.Errorf("got a clock ahead by %v, want an hour", d)
	}
	p := Policy{Rotation: RotateGrace, Grace: time.Second}
	s.SetPolicy(p)
	if got := s.Policy(); got != p {
		t.Errorf("got %+v, want %+v", got, p)
	}
}
