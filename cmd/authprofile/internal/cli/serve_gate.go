package cli

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"
)

// loginPath begins the path of the link.
const loginPath = "/login"

// linkTime is how long the link works.
const linkTime = 10 * time.Minute

// A gate lets one browser see what is behind it: the one that has come by the link.
type gate struct {
	host string // that requests must be for
	next http.Handler

	secret     string // of the link
	until      time.Time
	cookieName string // of this gate alone: the ports of a host share their cookies
	cookie     string

	mu   sync.Mutex
	used bool
}

func newGate(host string, now time.Time) *gate {
	return &gate{
		host: host, until: now.Add(linkTime),
		secret: random(32), cookie: random(32), cookieName: "authprofile_serve_" + random(6),
	}
}

// random returns n random bytes as text.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secret, isLink := strings.CutPrefix(r.URL.Path, loginPath+"/")
	switch {
	case r.Host != g.host: // a page of another site, by DNS rebinding
		refuse(w, http.StatusMisdirectedRequest, "This address belongs to another host.")
	case isLink:
		g.letIn(w, r, secret)
	case r.URL.Path == loginPath:
		showOnward(w, "You are let in", consolePath+"/")
	case r.URL.Path == callbackPath: // of a flow, which has a cookie of its own
		g.next.ServeHTTP(w, r)
	case !g.isLetIn(r):
		refuse(w, http.StatusForbidden, "Open the link that authprofile serve has printed. It works once: for another browser, start it anew.")
	default:
		g.next.ServeHTTP(w, r)
	}
}

// letIn answers a request for the link: of one browser, it lets that in. The address
// it leads to has no secret, and needs none: the cookie is not sent along if another
// site, or a file, has caused the request, and is with the next.
func (g *gate) letIn(w http.ResponseWriter, r *http.Request, secret string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	switch {
	case r.Method != http.MethodGet:
		h.Set("Allow", http.MethodGet)
		refuse(w, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	case subtle.ConstantTimeCompare([]byte(secret), []byte(g.secret)) != 1:
		refuse(w, http.StatusNotFound, "There is no such link. Open the one that authprofile serve has printed.")
		return
	case r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != "": // ahead of its use
		refuse(w, http.StatusForbidden, "This link is opened by a person.")
		return
	}
	g.mu.Lock()
	first := !g.used && time.Now().Before(g.until)
	g.used = g.used || first
	g.mu.Unlock()
	if !first && !g.isLetIn(r) {
		refuse(w, http.StatusGone, "This link was used before, or is older than ten minutes. If you did not use it, another program or person did: press Ctrl-C in the terminal, and start authprofile serve again.")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: g.cookieName, Value: g.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

// isLetIn reports whether a request comes from the browser that was let in.
func (g *gate) isLetIn(r *http.Request) bool {
	c, err := r.Cookie(g.cookieName)
	return err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(g.cookie)) == 1
}

// refuse answers a request with a line of text.
func refuse(w http.ResponseWriter, status int, text string) {
	setPlain(w)
	http.Error(w, text, status)
}

func setPlain(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// onward is a page that leads on to another by itself: as a request that the page has
// caused, and not the site before it.
var onward = template.Must(template.New("onward").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url={{.To}}">
<title>{{.Title}}</title><p>{{.Title}}. <a href="{{.To}}">Go on</a></p></html>
`))

type onwardPage struct {
	Title string
	To    string
}

// showOnward shows a page that leads on to a path of this server.
func showOnward(w http.ResponseWriter, title, path string) {
	setPlain(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	onward.Execute(w, onwardPage{title, path})
}
