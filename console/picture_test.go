package console

import (
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// Lives of tokens, from the usual to the absurd.
func lives(now time.Time) map[string]*authprofile.Grant {
	failure := &authprofile.Failure{Reason: authprofile.ReasonUnreachable, Since: now.Add(-time.Minute), Last: now, Next: now.Add(time.Second)}
	user := authprofile.GrantKey{ProfileID: "p", User: "u"}
	return map[string]*authprofile.Grant{
		"usual":          {GrantKey: user, RefreshToken: "r", Authorized: now.Add(-time.Hour), Obtained: now, Expiry: now.Add(time.Hour), Ends: now.Add(90 * 24 * time.Hour)},
		"minutes":        {GrantKey: user, RefreshToken: "r", Obtained: now, Expiry: now.Add(5 * time.Minute), RefreshExpiry: now.Add(180 * 24 * time.Hour), Ends: now.Add(365 * 24 * time.Hour)},
		"all":            {GrantKey: user, RefreshToken: "r", Authorized: now.Add(-400 * 24 * time.Hour), Obtained: now.Add(-time.Hour), Expiry: now, RefreshExpiry: now.Add(time.Hour), Ends: now.Add(2 * time.Hour), Failure: failure},
		"application":    {Obtained: now, Expiry: now.Add(24 * time.Hour)},
		"no end":         {GrantKey: user, Obtained: now.Add(-time.Hour)},
		"past":           {GrantKey: user, RefreshToken: "r", Authorized: now.Add(-3 * time.Hour), Obtained: now.Add(-3 * time.Hour), Expiry: now.Add(-2 * time.Hour), Ends: now.Add(-time.Hour)},
		"equal":          {GrantKey: user, RefreshToken: "r", Authorized: now, Obtained: now, Expiry: now, RefreshExpiry: now.Add(time.Nanosecond), Ends: now},
		"backwards":      {GrantKey: user, RefreshToken: "r", Authorized: now, Obtained: now.Add(time.Hour), Expiry: now.Add(-time.Hour), Ends: now.Add(-2 * time.Hour)},
		"year 9999":      {GrantKey: user, RefreshToken: "r", Authorized: now, Obtained: now, Expiry: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Ends: time.Date(9999, 12, 31, 23, 59, 59, 1, time.UTC)},
		"year 99999":     {GrantKey: user, RefreshToken: "r", Obtained: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), Expiry: time.Date(99999, 12, 31, 23, 59, 59, 0, time.UTC), Ends: time.Unix(1<<40, 0)},
		"only a consent": {GrantKey: user, Authorized: now},
	}
}

// A box is where a text is.
type box struct {
	text                     string
	left, top, right, bottom float64
}

// textBox returns where a label is, in the widest of usual fonts.
func textBox(l label) box {
	size, width := 12.0, 0.56
	if l.Class == "name" {
		size, width = 14, 0.62
	}
	return box{l.Text, float64(l.X), float64(l.Y) - 0.8*size, float64(l.X) + width*size*float64(len(l.Text)), float64(l.Y) + 0.25*size}
}

func TestLabelsNeverOverlap(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 34, 56, 789, time.UTC)
	for name, g := range lives(now) {
		for _, status := range statuses {
			g.Status = status
			p := newPicture(lifeOf(g, now, 0), now)
			var boxes []box
			for _, b := range p.Bars {
				if b.Label != nil {
					boxes = append(boxes, textBox(*b.Label))
				}
				if b.To <= b.From {
					t.Errorf("%s: got a line from %d to %d, want one that goes on", name, b.From, b.To)
				}
			}
			for _, pt := range p.Points {
				for _, l := range pt.Labels {
					boxes = append(boxes, textBox(l))
				}
			}
			for i, a := range boxes {
				if a.left < lineX+8 || a.right > float64(p.Width) || a.top < 0 || a.bottom > float64(p.Height) {
					t.Errorf("%s: got %q from %.0f,%.0f to %.0f,%.0f, want it within the %d by %d picture, and off the line", name, a.text, a.left, a.top, a.right, a.bottom, p.Width, p.Height)
				}
				for _, b := range boxes[:i] {
					if a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom {
						t.Errorf("%s: got %q and %q over each other", name, a.text, b.text)
					}
				}
			}
			if p.Height > 1200 {
				t.Errorf("%s: got a picture %d high, want at most 1200", name, p.Height)
			}
		}
	}
	if p := newPicture(lifeOf(new(authprofile.Grant), now, 0), now); p != nil {
		t.Errorf("got a picture of nothing: %+v", p)
	}
}

func TestPictureSaysWhatComesWhen(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		before time.Duration
		want   string
	}{
		"usual":       {0, "User consented 26 Nov 2026, 11:00 UTC (1 hour ago); Token issued 26 Nov 2026, 12:00 UTC (now); Now 26 Nov 2026, 12:00 UTC; Renewed on request 26 Nov 2026, 12:59 UTC (in 59 minutes); Token ends 26 Nov 2026, 13:00 UTC (in 1 hour); Grant ends 24 Feb 2027, 12:00 UTC (in 3 months)."},
		"minutes":     {time.Hour, "Token issued 26 Nov 2026, 12:00 UTC (now); Now 26 Nov 2026, 12:00 UTC; Renewed on request 26 Nov 2026, 12:03 UTC (in 3 minutes); Token ends 26 Nov 2026, 12:05 UTC (in 5 minutes); Refresh token ends 25 May 2027, 12:00 UTC (in 6 months); Grant ends 26 Nov 2027, 12:00 UTC (in 12 months)."},
		"application": {time.Hour, "Token issued 26 Nov 2026, 12:00 UTC (now); Now 26 Nov 2026, 12:00 UTC; Renewed on request 27 Nov 2026, 11:00 UTC (in 23 hours); Token ends 27 Nov 2026, 12:00 UTC (in 24 hours)."},
		"no end":      {0, "Token issued 26 Nov 2026, 11:00 UTC (1 hour ago); Now 26 Nov 2026, 12:00 UTC."},
	} {
		g := lives(now)[name]
		if got := newPicture(lifeOf(g, now, tt.before), now).Description; got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tt.want)
		}
	}
	g := lives(now)["year 9999"]
	if got := newPicture(lifeOf(g, now, 0), now).Description; !strings.Contains(got, "31 Dec 9999, 23:59 UTC (in 7978 years)") {
		t.Errorf("got %q, want the year and how far away it is", got)
	}
	// What needs its user is not renewed.
	g = lives(now)["usual"]
	g.Status = authprofile.StatusNeedsReauthorization
	if p := newPicture(lifeOf(g, now, 0), now); p.Due != "" || strings.Contains(p.Description, tokenDue) {
		t.Errorf("got %q, want nothing of a renewal", p.Description)
	}
}

// The line has the colour of what is the case.
func TestPictureColours(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	p := newPicture(lifeOf(lives(now)["usual"], now.Add(time.Minute), 0), now.Add(time.Minute))
	var got []string
	for _, b := range p.Bars {
		got = append(got, b.Class)
	}
	// Consent, issue, now, due, end of the token, end of the grant.
	if want := ",live,live,due,"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", strings.Join(got, ","), want)
	}
}

func TestLinksToSend(t *testing.T) {
	key := authprofile.GrantKey{ProfileID: "a b&c", User: "ada"}
	for base, want := range map[string]string{
		"https://app.example.com/connections/":            "https://app.example.com/connections/?profile=a+b%26c",
		"https://app.example.com/connections/?":           "https://app.example.com/connections/?profile=a+b%26c",
		"https://app.example.com/?page=connections&x=%2F": "https://app.example.com/?page=connections&x=%2F&profile=a+b%26c",
		"https://app.example.com/?a=1;b=2":                "https://app.example.com/?a=1;b=2&profile=a+b%26c",
		"https://app.example.com/?profile=all&lang=de":    "https://app.example.com/?lang=de&profile=a+b%26c",
		"https://app.example.com/#/connections":           "https://app.example.com/?profile=a+b%26c#/connections",
		"http://localhost:8080/c":                         "http://localhost:8080/c?profile=a+b%26c",
		"":                                                "",
		"/connections/":                                   "",
		"javascript:alert(1)":                             "",
		"https://app.example.com/%zz":                     "",
	} {
		if got := connectionsLink(base, key); got != want {
			t.Errorf("%q: got %q, want %q", base, got, want)
		}
	}
	if got := connectionsLink("https://app.example.com/", authprofile.GrantKey{ProfileID: "app"}); got != "" {
		t.Errorf("of an application: got %q, want none", got)
	}
}

func TestWhetherTheProviderIsTold(t *testing.T) {
	for template, want := range map[authprofile.Template]string{
		"gitlab":                                         "https://gitlab.com/.well-known/openid-configuration",
		"gitlab/git.example.com":                         "https://git.example.com/.well-known/openid-configuration",
		"keycloak/id.example.com/acme":                   "https://id.example.com/realms/acme/.well-known/openid-configuration",
		"keycloak/id.example.com/acme/auth":              "https://id.example.com/auth/realms/acme/.well-known/openid-configuration",
		"microsoft/common":                               "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
		"microsoft/login.microsoftonline.us/contoso.com": "https://login.microsoftonline.us/contoso.com/v2.0/.well-known/openid-configuration",
	} {
		h := &Handler{Manager: new(authprofile.Manager)}
		row := h.row(template)
		if row == nil {
			t.Fatalf("got no row of %q", template)
		}
		if got, ok := documentOf(row, template); got != want || !ok {
			t.Errorf("%s: got %q, %v; want %q", template, got, ok, want)
		}
	}
	h := &Handler{Manager: new(authprofile.Manager)}
	for _, template := range []authprofile.Template{"keycloak", "keycloak/a", "keycloak/a/b/c/d", "gitlab/a/b"} {
		if got, ok := documentOf(h.row(template), template); ok {
			t.Errorf("%s: got %q, want none", template, got)
		}
	}
}

func TestLoopbackSources(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"https://login.example.com/auth": "",
		"http://localhost:8080/auth":     "http://localhost:8080",
		"http://LOCALHOST/auth":          "http://localhost",
		"http://127.0.0.1:8080/auth":     "http://127.0.0.1:8080",
		"http://127.0.0.2:8080/auth":     "http:",
		"http://[::1]:8080/auth":         "http:",
		"http://x;script-src/":           "http:",
		"ftp://localhost/":               "",
		"%":                              "",
	} {
		if got := loopbackSource(text, false); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := loopbackSource("http://localhost:8080/", true); got != "http://localhost:*" {
		t.Errorf("at any port: got %q", got)
	}
}
