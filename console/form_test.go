package console_test

import (
	"encoding/xml"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

// A page's form is what a browser would send of it.
func formOf(t *testing.T, body string) url.Values {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(body))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	values := make(url.Values)
	var isIn bool
	var area, selected string // the names of those that are open
	var text strings.Builder
	for {
		token, err := d.Token()
		if err == io.EOF {
			return values
		}
		if err != nil {
			t.Fatalf("the page is no HTML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			a := make(map[string]string)
			for _, attr := range token.Attr {
				a[attr.Name.Local] = attr.Value
			}
			_, checked := a["checked"]
			_, isSelected := a["selected"]
			text.Reset()
			switch {
			case token.Name.Local == "form":
				isIn = a["id"] == "profile"
			case !isIn:
			case token.Name.Local == "input" && a["name"] != "" && (a["type"] != "radio" || checked):
				values.Set(a["name"], a["value"])
			case token.Name.Local == "textarea":
				area = a["name"]
			case token.Name.Local == "select":
				selected = a["name"]
				values.Set(selected, "")
			case token.Name.Local == "option" && isSelected:
				if value, ok := a["value"]; ok {
					values.Set(selected, value)
				} else {
					area = selected
				}
			}
		case xml.CharData:
			text.Write(token)
		case xml.EndElement:
			switch name := token.Name.Local; {
			case name == "form":
				isIn = false
			case (name == "textarea" || name == "option") && area != "":
				s := strings.TrimPrefix(text.String(), "\n")
				values.Set(area, strings.ReplaceAll(s, "\n", "\r\n"))
				area = ""
			}
		}
	}
}

// with returns a form in which some fields were filled in.
func with(form url.Values, pairs ...string) url.Values {
	c := make(url.Values)
	for name, values := range form {
		c[name] = values
	}
	for i := 0; i < len(pairs); i += 2 {
		c.Set(pairs[i], pairs[i+1])
	}
	return c
}

// openProfiles opens a console with profiles in memory.
func openProfiles(t *testing.T, profiles ...*authprofile.Profile) (*browserTab, *authprofile.Manager) {
	t.Helper()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/Callback/{profile}"}
	for _, p := range profiles {
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, &console.Handler{Manager: m, Operator: operator}), m
}

// calendar is a profile as it is before it is saved.
func calendar() *authprofile.Profile {
	return &authprofile.Profile{
		ID: "calendar", Name: "Calendar", Type: authprofile.TypeUser, ClientID: "calendar-client", ClientSecret: "hunter2-secret",
		Endpoints: authprofile.Endpoints{AuthURL: "https://id.example.com/auth", TokenURL: "https://id.example.com/token"},
		Scopes:    []string{"openid", "calendar"},
	}
}

func stored(t *testing.T, m *authprofile.Manager, id string) *authprofile.Profile {
	t.Helper()
	p, err := m.Profile(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewProfile(t *testing.T) {
	b, m := openProfiles(t)
	page := b.get("new-profile")
	page.wants(t, 200, "OAuth2 App -&gt; API", "OAuth2 User -&gt; API", `value="-1"`, "Own addresses", ">Google Identity<", ">Microsoft Identity Platform<")
	for _, label := range []string{"ID", "Name", "Description", "Client ID", "Client secret", "Template", "Authorization address", "Token address", "Discovery document", "Scopes", "Redirect URI"} {
		if !strings.Contains(page.body, ">"+label+"</label>") {
			t.Errorf("got no field labelled %q", label)
		}
	}
	if !strings.Contains(page.body, "<legend>Type</legend>") {
		t.Error("got no group labelled Type")
	}
	form := formOf(t, page.body)
	redirect := "https://app.example.com/Callback/" + form.Get("new")
	if !strings.Contains(page.body, `value="`+redirect+`"`) {
		t.Errorf("got no Redirect URI %s before the first save", redirect)
	}
	done := b.post("profile", with(form, "name", "Calendar", "client_id", "abc", "client_secret", "hunter2", "template", "google", "scopes", "openid  calendar"))
	done.wants(t, 200, "Saved.", "<h1>Profile: Calendar</h1>", redirect, "<p>Set.</p>")
	id := done.location.Query().Get("id")
	p := stored(t, m, id)
	if id != form.Get("new") || p.ClientSecret != "hunter2" || p.Template != authprofile.Google || strings.Join(p.Scopes, ",") != "openid,calendar" {
		t.Errorf("got %v under %s, want what was typed under %s", p, id, form.Get("new"))
	}
	if strings.Contains(done.body, "hunter2") {
		t.Error("got a page with the secret")
	}
}

// An ID of one's own may take the place of -1, once.
func TestOwnID(t *testing.T) {
	b, m := openProfiles(t, calendar())
	form := with(formOf(t, b.get("new-profile").body), "client_id", "abc", "template", "google")
	taken := b.post("profile", with(form, "id", "calendar"))
	taken.wants(t, 409, "ID already belongs to another profile", `value="abc"`)
	if got := stored(t, m, "calendar").ClientID; got != "calendar-client" {
		t.Errorf("got client %q, want that of the profile that was there", got)
	}
	same := with(form, "id", "calendar", "name", "Calendar", "client_id", "calendar-client", "scopes", "openid calendar", "template", "",
		"auth_url", "https://id.example.com/auth", "token_url", "https://id.example.com/token")
	b.post("profile", same).wants(t, 409, "ID already belongs to another profile") // whose secret is not this one's
	page := b.post("profile", with(formOf(t, taken.body), "id", " crm "))
	page.wants(t, 200, "Saved.", `value="crm" readonly`, "https://app.example.com/Callback/crm")
}

// What is in hidden fields is not believed.
func TestThreat167_ForgedForms(t *testing.T) {
	b, m := openProfiles(t, calendar())
	form := with(formOf(t, b.get("new-profile").body), "client_id", "abc", "template", "google")
	for _, id := range []string{"", "calendar", "018f3f3e-0000-4000-8000-000000000000", strings.ToUpper(form.Get("new")), "{" + form.Get("new") + "}", form.Get("new") + "0"} {
		page := b.post("profile", with(form, "new", id))
		page.wants(t, 422, "ID was altered on its way")
		again := formOf(t, page.body)
		if again.Get("new") == id || len(again.Get("new")) != 36 {
			t.Errorf("%q: got %q as new ID, want another", id, again.Get("new"))
		}
		b.post("profile", again).wants(t, 200, "Saved.")
	}
	for _, pairs := range [][]string{
		{"version", "-1"}, {"version", "x"}, {"version", "99999999999999999999"}, {"version", "3", "id", ""},
	} {
		b.post("profile", with(form, pairs...)).wants(t, 400, "This form cannot be read")
	}
	page := b.post("profile", with(form, "template", "<script>", "type", "<b>", "auth_method", "<i>", "secret", "other"))
	page.wants(t, 422, "Template is unknown", "Type is unknown", "Client authentication", "&lt;script&gt;")
	b.post("profile", nil).wants(t, 422, "Client ID is missing")
	b.post("profile", url.Values{"id": {"calendar"}, "version": {"1"}}).wants(t, 200) // nothing was sent, nothing is changed
	if got, want := stored(t, m, "calendar"), calendar(); got.ClientID != want.ClientID || got.ClientSecret != want.ClientSecret {
		t.Errorf("got %v, want it unchanged", got)
	}
}

// A second submit of the same finds it saved; one of something else is told.
func TestDoubleSubmit(t *testing.T) {
	for _, id := range []string{"-1", "crm"} {
		b, m := openProfiles(t)
		form := with(formOf(t, b.get("new-profile").body), "id", id, "client_id", "abc", "client_secret", "hunter2", "template", "google")
		first := b.post("profile", form)
		first.wants(t, 200, "Saved.")
		b.post("profile", form).wants(t, 200, "Saved.")
		list, err := m.ListProfiles(t.Context(), "", 10)
		if err != nil || len(list) != 1 || list[0].Version != 1 {
			t.Errorf("got %v and error %v, want one profile saved once", list, err)
		}
		edit := with(formOf(t, first.body), "name", "Edited")
		b.post("profile", edit).wants(t, 200, "Saved.")
		b.post("profile", edit).wants(t, 200, "Saved.")
	}
	b, m := openProfiles(t)
	form := with(formOf(t, b.get("new-profile").body), "client_id", "abc", "template", "google")
	b.post("profile", form).wants(t, 200, "Saved.")
	page := b.post("profile", with(form, "client_id", "other"))
	page.wants(t, 409, "Another save came first", "abc", "other")
	b.post("profile", formOf(t, page.body)).wants(t, 200, "Saved.")
	if got := stored(t, m, form.Get("new")).ClientID; got != "other" {
		t.Errorf("got client %q, want the one saved knowingly", got)
	}
}

// Every problem stands at its field, and is linked to from the top; what was typed is
// still there, but a secret, which has to be typed again.
func TestProblems(t *testing.T) {
	b, m := openProfiles(t)
	form := with(formOf(t, b.get("new-profile").body), "id", "..", "client_secret", "hunter2", "client_id", "", "scopes", `good "bad"`,
		"auth_url", "ftp://id.example.com", "token_url", "", "params", "a=1\nstate=x\nb", "token_params", "code=1", "api_hosts", "ok.example.com\na/b",
		"keep_alive", "0.5", "secret_expires", "soon", "redirect_url", "https://app.example.com/?code=1", "par_url", "x", "name", "<Name>")
	page := b.post("profile", form)
	page.wants(t, 422, "&lt;Name&gt;", `<details class="card" open>`, "unsaved changes")
	for _, name := range []string{"id", "client_secret", "client_id", "scopes", "auth_url", "token_url", "params", "token_params", "api_hosts", "keep_alive", "secret_expires", "redirect_url", "par_url"} {
		for _, part := range []string{`<a href="#` + name + `">`, `id="` + name + `-error"`, name + `-error" aria-invalid="true"`} {
			if !strings.Contains(page.body, part) {
				t.Errorf("%s: got a page without %s", name, part)
			}
		}
	}
	page.wants(t, 422, "Parameters have no = in line 3", "Scopes no. 2 has a character", "API hosts no. 2 is neither", "The end of the client secret is not a day such as 2027-01-31", "Client secret has to be typed again, because it is never sent back", `value="ftp://id.example.com"`)
	for _, part := range strings.Split(page.body, `<a href="#`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		if !strings.Contains(page.body, `id="`+id+`"`) {
			t.Errorf("got a link to #%s, want one to an element of the page", id)
		}
	}
	if strings.Contains(page.body, "hunter2") {
		t.Error("got the secret sent back")
	}
	mended := with(formOf(t, page.body), "id", "mended", "client_id", "abc", "scopes", "good", "auth_url", "https://id.example.com/a", "token_url", "https://id.example.com/t",
		"params", "", "token_params", "", "api_hosts", "", "keep_alive", "2", "secret_expires", "", "redirect_url", "", "par_url", "")
	page = b.post("profile", mended)
	page.wants(t, 422, "Client secret is to be replaced, so type the new one")
	b.post("profile", with(formOf(t, page.body), "client_secret", "hunter2")).wants(t, 200, "Saved.")
	if got := stored(t, m, "mended").ClientSecret; got != "hunter2" {
		t.Errorf("got the secret %q, want the one typed again", string(got))
	}
}

// The fields of a template's variables make the template, and what is wrong with a
// value stands at its field.
func TestTemplates(t *testing.T) {
	b, m := openProfiles(t)
	form := with(formOf(t, b.get("new-profile?template=keycloak").body), "id", "k", "client_id", "abc")
	if got := form.Get("template"); got != "keycloak" {
		t.Errorf("got template %q chosen, want the one of the address", got)
	}
	page := b.post("profile", with(form, "variable.keycloak.host", "localhost", "client_id", ""))
	page.wants(t, 422, `<a href="#variable.keycloak.realm">Realm is missing</a>`, "Client ID is missing")
	page = b.post("profile", with(form, "variable.keycloak.host", "ID.example.com", "variable.keycloak.realm", "acme"))
	page.wants(t, 422, `<a href="#variable.keycloak.host">Host must be a host name in lower case`)
	page = b.post("profile", with(formOf(t, page.body), "variable.keycloak.host", "id.example.com", "variable.github-enterprise-server.host", "github.example.com"))
	page.wants(t, 200, "Saved.")
	if got := stored(t, m, "k").Template; got != "keycloak/id.example.com/acme" {
		t.Errorf("got template %q, want keycloak/id.example.com/acme", got)
	}
	app := b.post("profile", with(form, "id", "g", "template", "github", "type", "app"))
	app.wants(t, 422, `<a href="#template">Template is of a provider without a grant for applications`)
}

// What does not apply is not saved, and is still there when it does again.
func TestOnesMindMayChange(t *testing.T) {
	b, m := openProfiles(t)
	form := with(formOf(t, b.get("new-profile").body), "id", "x", "type", "app", "template", "okta", "variable.okta.host", "acme.okta.com", "variable.gitlab.host", "git.example.com",
		"discovery_url", "https://id.example.com/d", "auth_url", "https://id.example.com/a", "token_url", "https://id.example.com/t", "revocation_url", "https://id.example.com/r",
		"redirect_url", "https://app.example.com/own", "par_url", "https://id.example.com/p", "token_params", "a=b", "keep_alive", "never")
	page := b.post("profile", form) // without a client ID
	again := formOf(t, page.body)
	for name := range form {
		if got, want := again.Get(name), form.Get(name); got != want {
			t.Errorf("%s: got %q in the form, want %q as typed", name, got, want)
		}
	}
	b.post("profile", with(again, "client_id", "abc")).wants(t, 200, "Saved.")
	p := stored(t, m, "x")
	if p.Template != "okta/acme.okta.com" || p.Endpoints != (authprofile.Endpoints{}) || p.RedirectURL != "" || p.TokenParams != nil || p.KeepAlive != 0 {
		t.Errorf("got %+v, want nothing in it that does not apply", p)
	}
	b.post("profile", with(again, "client_id", "abc", "version", "1", "template", "", "type", "user")).wants(t, 200, "Saved.")
	p = stored(t, m, "x")
	want := authprofile.Endpoints{DiscoveryURL: "https://id.example.com/d", RevocationURL: "https://id.example.com/r", PARURL: "https://id.example.com/p"}
	if p.Template != "" || p.Endpoints != want || p.KeepAlive >= 0 {
		t.Errorf("got %+v, want what applies now", p)
	}
}
