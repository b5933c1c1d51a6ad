package peertest

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/page"
)

// From an empty database to a connected account, and to its end: a person types in a
// profile, tests and saves it, copies the redirect address, connects an account at the
// provider, looks at the grant, renews and revokes it, and does the same once more
// where users do.
func TestConsoleStory(t *testing.T) {
	require.Long(t, "the story of the console, in a browser")
	for _, tt := range []struct {
		name    string
		start   string // where the console is opened
		outside bool   // behind a proxy that takes a prefix away
		set     func(*person)
		script  bool
	}{
		{"with a script, from a prefix without a slash", "/auth", false, func(p *person) {}, true},
		{"by keyboard, behind a proxy", "/outside/auth/", true, func(p *person) { p.keyboard = true }, true},
		{"without a script, on a small screen, behind a proxy", "/outside/auth/", true, func(p *person) { p.withoutScript(); p.onScreen(320, 640) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startConsole(t)
			base := s.URL
			if tt.outside {
				s.behindProxy(t)
				base = s.Outside
			}
			redirect := s.manager.RedirectAddress(&authprofile.Profile{ID: "crm"})
			s.register(t, redirect)
			p := &person{t: t, ctx: authservers.BrowserFor(t, 3*time.Minute)}
			tt.set(p)
			p.opens(base + "/login?as=olga")
			p.opens(base + tt.start)
			p.setsUpProfile(s, tt.script)
			p.copies(redirect, tt.script)
			console := p.at()

			p.follows("button", "Connect my own account")
			p.allows(s)
			if at := p.at(); !strings.HasPrefix(at, console[:strings.LastIndexByte(console, '/')]) || strings.Contains(at, "code=") || strings.Contains(at, "state=") {
				t.Errorf("after the provider the browser is at %s, want a page of the console", at)
			}
			p.sees("Active")
			p.sees("sub-of-alice")
			p.fits()
			p.follows("button", "Renew now")
			p.sees("The token was renewed.")
			if tt.script && strings.Contains(p.at(), "done=") {
				t.Errorf("got the address %s, which says it once more when it is loaded again", p.at())
			}
			if n := s.provider.Token.Count("refresh_token"); n != 1 {
				t.Errorf("got %d renewals at the provider, want 1", n)
			}
			p.follows("link", "Grants")
			p.fits()
			p.follows("link", "olga")
			p.follows("link", "Revoke")
			p.fits()
			p.follows("button", "Revoke")
			p.sees("It was deleted here, and the provider confirmed the revocation.")
			if n := s.provider.Requests(s.provider.RevocationURL); n == 0 {
				t.Error("the provider was not told of the end")
			}
			if _, err := s.manager.Grant(t.Context(), authprofile.GrantKey{ProfileID: "crm", User: "olga"}); err == nil {
				t.Error("got a grant after its end, want none")
			}

			p.opens(strings.Replace(base+tt.start, "/auth", "/connections", 1))
			p.fits()
			p.follows("button", "Connect Contacts")
			p.allows(s)
			p.finds("button", "Reconnect Contacts")
			p.fits()
			p.follows("link", "Disconnect Contacts")
			p.follows("button", "Disconnect")
			p.finds("button", "Connect Contacts")
			p.wantsCleanHistory()
		})
	}
}

// setsUpProfile fills in the form of a new profile, tests it, and saves it.
func (p *person) setsUpProfile(s *consoleHost, script bool) {
	p.t.Helper()
	p.follows("link", "Profiles")
	p.sees("There are no profiles yet.")
	p.follows("link", "New profile")
	if got := p.value("ID"); got != "-1" {
		p.t.Errorf("new profile: got ID %q, want -1", got)
	}
	if p.has("status", "unsaved changes") || strings.Contains(p.text(), "unsaved changes") {
		p.t.Error("new profile: got unsaved changes, want none yet")
	}
	p.types("ID", "crm")
	p.types("Name", "Contacts")
	if script {
		p.sees("unsaved changes")
	}
	p.picks("OAuth2 App -> API")
	if p.has("textbox", "Authorization address") || p.has("textbox", "Redirect URI") {
		p.t.Error("an application's profile: got fields for users, want none")
	}
	p.picks("OAuth2 User -> API")
	p.types("Description", "Contacts of the customers")
	p.types("Client ID", authservers.Web.ID)
	p.types("Client secret", authservers.Web.Secret)
	p.types("Discovery document", s.provider.DiscoveryURL)
	p.chooses("Template", "Google Identity")
	if p.has("textbox", "Discovery document") {
		p.t.Error("with a template: got a field for a discovery document, want none")
	}
	p.chooses("Template", "Own addresses")
	if got := p.value("Discovery document"); got != s.provider.DiscoveryURL {
		p.t.Errorf("after another choice: got discovery document %q, want %q", got, s.provider.DiscoveryURL)
	}
	p.fits()

	// Scopes are missing, and the test says nothing against it. It saves nothing.
	p.presses("button", "Test")
	p.seesInFrame("Authenticate the client: Passed")
	p.seesInFrame("Nothing was saved.")
	if list, err := s.store.ListProfiles(p.t.Context(), "", 1); err != nil || len(list) > 0 {
		p.t.Errorf("after the test: got %d profiles, error %v; want none", len(list), err)
	}
	// What is wrong is told at its field, and nothing that was typed is lost.
	p.types("Scopes", `openid "`)
	p.follows("button", "Save")
	p.sees("Not saved.")
	if got := p.value("Discovery document"); got != s.provider.DiscoveryURL {
		p.t.Errorf("after a mistake: got discovery document %q, want what was typed", got)
	}
	if text := p.value("New client secret"); text != "" {
		p.t.Errorf("after a mistake: got a secret that was sent back, want none")
	}
	p.fits()
	p.types("New client secret", authservers.Web.Secret)
	p.types("Scopes", strings.Join(authservers.Scopes, " "))
	p.follows("button", "Save")
	p.sees("Saved.")
	if strings.Contains(p.text(), "unsaved changes") {
		p.t.Error("after saving: got unsaved changes, want none")
	}
	stored, err := s.manager.Profile(p.t.Context(), "crm")
	if err != nil {
		p.t.Fatal(err)
	}
	if string(stored.ClientSecret) != authservers.Web.Secret || stored.Name != "Contacts" || stored.Type != authprofile.TypeUser || !slices.Equal(stored.Scopes, authservers.Scopes) {
		p.t.Errorf("got profile %v, want what was typed", stored)
	}
}

// copies copies the redirect address.
func (p *person) copies(want string, script bool) {
	p.t.Helper()
	if got := p.value("Redirect URI"); got != want {
		p.t.Errorf("got redirect URI %q, want %q", got, want)
	}
	if !script {
		if p.has("button", "Copy") {
			p.t.Error("without a script: got a button to copy, want none")
		}
		return
	}
	p.do("allow the clipboard", func(ctx context.Context) error {
		return browser.GrantPermissions([]browser.PermissionType{browser.PermissionTypeClipboardReadWrite, browser.PermissionTypeClipboardSanitizedWrite}).Do(ctx)
	})
	p.presses("button", "Copy")
	p.sees("Copied.")
	var copied string
	p.do("read the clipboard", func(ctx context.Context) error {
		return evaluate(ctx, "navigator.clipboard.readText()", &copied)
	})
	if copied != want {
		p.t.Errorf("got %q in the clipboard, want %q", copied, want)
	}
}

// allows signs in at the provider, and lets the service have what it asks for.
func (p *person) allows(s *consoleHost) {
	p.t.Helper()
	p.finds("heading", "Sign in")
	if at := p.at(); !strings.HasPrefix(at, s.provider.AuthURL+"?") {
		p.t.Fatalf("after Connect the browser is at %s, want %s", at, s.provider.AuthURL)
	}
	p.types("Name", "alice")
	p.types("Password", authservers.Password)
	p.follows("button", "Allow")
}

// seesInFrame waits for a text in the frame of the page.
func (p *person) seesInFrame(text string) {
	p.t.Helper()
	var all string
	p.await(func() string { return "the text " + text + " in a frame that says " + all }, func(ctx context.Context) (bool, error) {
		err := evaluate(ctx, `document.querySelector("iframe").contentDocument.body.innerText`, &all)
		return strings.Contains(all, text), err
	})
}

// wantsCleanHistory fails the test if the history of the browser has in it what is for
// nobody to see again.
func (p *person) wantsCleanHistory() {
	p.t.Helper()
	p.do("read the history", func(ctx context.Context) error {
		_, entries, err := page.GetNavigationHistory().Do(ctx)
		for _, e := range entries {
			u, err := url.Parse(e.URL)
			if err != nil {
				return err
			}
			if q := u.Query(); q.Has("code") || strings.Contains(e.URL, url.QueryEscape(authservers.Web.Secret)) {
				p.t.Errorf("got %s?%v in the history, want no code and no secret", u.Path, slices.Sorted(maps.Keys(q)))
			}
		}
		return err
	})
}
