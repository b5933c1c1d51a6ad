package authprofile

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
)

// A RedirectHandler is what a web program needs to let people authorize a
// profile: Begin sends a browser to the provider, and ServeHTTP, at the
// redirect address, takes it when it comes back.
//
//	h := &authprofile.RedirectHandler{Manager: m, User: loggedInUser}
//	http.Handle("GET /oauth/callback", h)
//	http.HandleFunc("POST /connect", func(w http.ResponseWriter, r *http.Request) {
//		h.Begin(w, r, profile)
//	})
//
// A flow is bound to the user, and by a cookie to the browser that began it:
// a person cannot finish what another has begun, nor be made to. There is one grant
// for each user of a profile: where people connect several accounts, User
// returns which connection is meant, as [AsUser] says. A browser may have ten
// flows in progress: with the next, the oldest cannot be finished any more.
//
// The redirect address comes from the configuration alone. A callback at
// another path than that of the address, or without the query that the address
// has, is refused, so behind a proxy the handler must see the path that the
// browser sees.
type RedirectHandler struct {
	// Manager is required.
	Manager *Manager

	// User tells who is logged in at the application, from its own session.
	// It is required. If it fails, nothing happens but ErrorHandler.
	User func(*http.Request) (string, error)

	// Options are asked for what to add to the authorization request, such as
	// a "login_hint"; [Manager.Begin] says what they may. If nil, nothing is.
	Options func(*http.Request) []oauth2.AuthCodeOption

	// Done answers the request after success. If nil, the browser is sent to
	// the page that it came from, or is shown a plain page that says so.
	//
	// The request is without code and state; "return_to" in its query is the
	// page that the person came from, if there is one. An application that
	// takes the authorization for a login has to begin a new session here.
	Done func(http.ResponseWriter, *http.Request, *Grant)

	// ErrorHandler answers the request after a failure. If nil, a plain page
	// says what happened and what to do. The request is without code and state;
	// "return_to" in its query is the page that the person came from, if they began
	// the authorization in this browser from one, and it has come so far.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)
}

// Begin begins an authorization of p and sends the browser to the provider.
//
// The form value "return_to" of the request, if it is the path of a page of
// the same site, is where the browser goes when all is done. It may have a
// query, and letters of any language and spaces, percent-encoded or not; what
// could lead elsewhere is left out.
//
// Requests that another site has caused are refused, as far as browsers tell:
// of a GET request by its Sec-Fetch headers alone, so let people begin by POST.
// It is for the application to limit how often a person may begin.
func (h *RedirectHandler) Begin(w http.ResponseWriter, r *http.Request, p *Profile) {
	setNoStore(w)
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := checkSameSite(r); err != nil {
		h.fail(w, r, err, "")
		return
	}
	user, err := h.User(r)
	if err != nil {
		h.fail(w, r, wrap("begin", p.ID, "", fmt.Errorf("%w: %w", errNotLoggedIn, err)), "")
		return
	}
	browser := newBrowser()
	f := &Flow{
		GrantKey: GrantKey{ProfileID: p.ID, User: user},
		Browser:  hashText(browser),
		ReturnTo: localPath(r.FormValue("return_to")),
	}
	var opts []oauth2.AuthCodeOption
	if h.Options != nil {
		opts = h.Options(r)
	}
	f, err = h.Manager.begin(r.Context(), p, f, opts)
	if err != nil {
		h.fail(w, r, wrap("begin", p.ID, user, err), "")
		return
	}
	cookie := flowCookie(f)
	for _, c := range oldestFlows(r, cookie.Name[:len(cookie.Name)-cookieID], maxBrowserFlows-1) {
		c.MaxAge = -1
		http.SetCookie(w, c)
	}
	cookie.Value = browser
	cookie.MaxAge = int(flowLife / time.Second)
	http.SetCookie(w, cookie)
	redirectTo(w, f.URL)
}

// maxBrowserFlows is how many flows a browser may have in progress, so that
// their cookies, of less than 100 bytes each, are far below the 4 KiB or more
// of a request's header that servers accept.
const maxBrowserFlows = 10

// maxForm bounds the body of a request that begins a flow, in bytes.
const maxForm = 64 << 10

var (
	errNotLoggedIn = errors.New("nobody is logged in")
	errOtherSite   = errors.New("the request was caused by another site")
	errPrefetch    = errors.New("the page was requested ahead of its use")
	errWrongPath   = errors.New("the callback is not at the address that the flow was begun with")
)

// checkSameSite makes sure that a flow is begun because the person wants it: not by
// another site's form or image, nor by a browser that reads ahead.
func checkSameSite(r *http.Request) error {
	if isPrefetch(r) {
		return errPrefetch
	}
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		return errOtherSite
	}
	// The above lets all GET requests pass.
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return errOtherSite
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return errOtherSite
	}
	return nil
}

func isPrefetch(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || strings.Contains(r.Header.Get("Purpose"), "prefetch")
}

// flowCookie returns the cookie that binds a flow to a browser. Whether it is
// Secure is decided by the redirect address, as the request may be a proxy's.
func flowCookie(f *Flow) *http.Cookie {
	name := cookiePrefix + f.ID[:min(cookieID, len(f.ID))]
	if strings.HasPrefix(f.RedirectURL, "https:") {
		name = hostPrefix + name
	}
	return namedCookie(name)
}

// A cookie's name is the beginning of its flow's ID, after these.
const (
	hostPrefix   = "__Host-" // of those that are Secure (RFC 6265bis, section 4.1.3.2)
	cookiePrefix = "authprofile-"
	cookieID     = 16 // bytes of the ID
)

func namedCookie(name string) *http.Cookie {
	return &http.Cookie{
		Name: name, Path: "/", Secure: strings.HasPrefix(name, hostPrefix), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// newBrowser returns the value of a new cookie: the time in milliseconds, six
// bytes of it, so that the oldest cookie can be told, and 26 random bytes.
func newBrowser() string {
	var b [8 + 26]byte
	binary.BigEndian.PutUint64(b[:], uint64(time.Now().UnixMilli()))
	rand.Read(b[8:])
	return base64.RawURLEncoding.EncodeToString(b[2:])
}

// browserTime returns the time in the value of a cookie. What is none of ours
// is of long ago.
func browserTime(value string) uint64 {
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(b) != 6+26 {
		return 0
	}
	return binary.BigEndian.Uint64(b) >> 16
}

// oldestFlows returns the cookies of flows that r has beyond so many, the
// oldest ones, without their values. Their names begin with prefix: another
// site of the same domain can plant cookies without hostPrefix, which must not
// count where that is there.
func oldestFlows(r *http.Request, prefix string, limit int) []*http.Cookie {
	var found []*http.Cookie
	for _, c := range r.Cookies() {
		if id, ok := strings.CutPrefix(c.Name, prefix); ok && len(id) == cookieID {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b *http.Cookie) int { return cmp.Compare(browserTime(a.Value), browserTime(b.Value)) })
	found = found[:max(0, len(found)-limit)]
	for i, c := range found {
		found[i] = namedCookie(c.Name)
	}
	return found
}

// ServeHTTP takes a browser that comes back from the provider, and finishes
// the flow.
func (h *RedirectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setNoStore(w)
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	if isPrefetch(r) {
		h.fail(w, r, errPrefetch, "")
		return
	}
	query, err := callbackQuery(r.URL.RawQuery)
	if err != nil {
		h.fail(w, r, wrap("finish", "", "", err), "")
		return
	}
	user, err := h.User(r)
	if err != nil {
		h.fail(w, r, wrap("finish", "", "", fmt.Errorf("%w: %w", errNotLoggedIn, err)), "")
		return
	}
	g, f, err := h.Manager.finish(r.Context(), user, query, func(f *Flow) error { return checkCallback(r, f) })
	if f != nil && f.Browser != "" {
		cookie := flowCookie(f)
		cookie.MaxAge = -1
		http.SetCookie(w, cookie)
	}
	if err != nil {
		returnTo := ""
		if f != nil && f.User == user && checkCallback(r, f) == nil { // and not the page of another person
			returnTo = f.ReturnTo
		}
		h.fail(w, r, err, returnTo)
		return
	}
	switch {
	case h.Done != nil:
		h.Done(w, sanitized(r, f.ReturnTo), g)
	case f.ReturnTo != "":
		redirectTo(w, f.ReturnTo)
	default:
		showPage(w, http.StatusOK, page{
			Title: "Connected",
			Text:  "The authorization is complete. You can close this page, or go back to where you came from.",
		})
	}
}

// checkCallback makes sure that the browser is at the address that the flow was
// begun with, and is the one that it was begun with.
func checkCallback(r *http.Request, f *Flow) error {
	u, err := url.Parse(f.RedirectURL)
	if err != nil || requestedPath(r) != cmp.Or(u.EscapedPath(), "/") {
		return errWrongPath
	}
	arrived, _ := address.ReadQuery(r.URL.RawQuery)
	own, _ := address.ReadQuery(u.RawQuery)
	for name, values := range own { // which may be what tells profiles apart
		if !slices.Equal(arrived[name], values) {
			return errWrongPath
		}
	}
	if f.Browser == "" {
		return nil // begun by Manager.Begin, which knows of no browser
	}
	cookie, err := r.Cookie(flowCookie(f).Name)
	if err != nil || subtle.ConstantTimeCompare([]byte(hashText(cookie.Value)), []byte(f.Browser)) != 1 {
		return fmt.Errorf("%w: the authorization was begun in another browser", ErrUserMismatch)
	}
	return nil
}

// requestedPath is the path that was requested, before http.StripPrefix and the
// like.
func requestedPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(path, "/") {
		return path
	}
	if u, err := url.Parse(path); err == nil && u.Host != "" { // as proxies are asked
		return cmp.Or(u.EscapedPath(), "/")
	}
	return r.URL.EscapedPath()
}

// sanitized returns the request without what must not be logged or passed
// on. Where to return to is what was stored when the flow began.
func sanitized(r *http.Request, returnTo string) *http.Request {
	r = r.Clone(r.Context())
	q := make(url.Values)
	if len(r.URL.RawQuery) <= maxCallback {
		q, _ = address.ReadQuery(r.URL.RawQuery)
	}
	for _, name := range []string{"state", "return_to", "access_token", "id_token", "refresh_token"} {
		q.Del(name)
	}
	for name := range q {
		if catalog.IsCodeName(name) { // some providers have a name of their own for it
			q.Del(name)
		}
	}
	if returnTo != "" {
		q.Set("return_to", returnTo)
	}
	r.URL.RawQuery = q.Encode()
	r.RequestURI = requestedPath(r)
	if r.URL.RawQuery != "" {
		r.RequestURI += "?" + r.URL.RawQuery
	}
	// What is left of the body could be parsed into a form again.
	r.Form, r.PostForm, r.MultipartForm = nil, nil, nil
	r.Body, r.ContentLength = http.NoBody, 0
	return r
}

// localPath returns s, in the letters of an address, if it is the path of a
// page of this site, with or without a query, and otherwise nothing.
//
// However often a server or a proxy on the way decodes the path, it stays one.
func localPath(s string) string {
	s = encodeText(s)
	if len(s) > address.MaxLen || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' || c == '#' }) {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return ""
	}
	path, _, _ := strings.Cut(s, "?")
	for decoded := ""; ; path = decoded {
		if !plainPath(path) {
			return ""
		}
		if decoded, _ = address.PercentDecode(path); decoded == path {
			return s
		}
	}
}

// encodeText percent-encodes the spaces of s, and what is not ASCII.
func encodeText(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c == ' ' || c > 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// plainPath reports whether no browser, proxy or server could take s for
// anything but a path on the same site: it has one slash at a time, no way up,
// and outside ASCII only letters, digits and dashes, none of which a Unicode
// normalization turns into a slash or a dot.
func plainPath(s string) bool {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if c < ' ' || c == '\\' || c == 0x7f || c > 0x7f && !unicode.In(c, unicode.L, unicode.M, unicode.Nd, unicode.Pd) {
			return false
		}
	}
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		// Some servers cut off what follows a semicolon, or spaces.
		segment, _, _ = strings.Cut(segment, ";")
		segment = strings.Trim(segment, " ")
		if segment == "." || segment == ".." || segment == "" && i < len(segments)-1 {
			return false
		}
	}
	return true
}

// redirectTo sends the browser on with a GET request, whatever it came with.
func redirectTo(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

// setNoStore keeps the address of the page, which may have a code in it,
// out of caches and Referer headers.
func setNoStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
}

// fail answers after a failure. The page to return to is that of the flow, or empty.
func (h *RedirectHandler) fail(w http.ResponseWriter, r *http.Request, err error, returnTo string) {
	if h.ErrorHandler != nil {
		h.ErrorHandler(w, sanitized(r, returnTo), err)
		return
	}
	status, p := explain(err)
	p.Back = returnTo
	showPage(w, status, p)
}

// explain says to a person what has happened, and what to do next. It shows
// nothing that came with the request.
func explain(err error) (status int, p page) {
	var re *oauth2.RetrieveError
	denied := errors.As(err, &re) && re.ErrorCode == "access_denied"
	switch {
	case denied:
		return http.StatusForbidden, page{Title: "Not connected", Text: "Access was not granted at the provider. Nothing has changed. If that was not intended, go back and begin again."}
	case errors.Is(err, errNotLoggedIn):
		return http.StatusUnauthorized, page{Title: "Please log in", Text: "You are not logged in here. Log in, and begin again."}
	case errors.Is(err, errOtherSite):
		return http.StatusForbidden, page{Title: "Not connected", Text: "The request came from another site. Go to the page of this application where you want to connect, and begin there."}
	case errors.Is(err, errPrefetch):
		return http.StatusForbidden, page{Title: "Not loaded ahead", Text: "This page cannot be loaded ahead of its use."}
	case errors.Is(err, ErrUserMismatch):
		return http.StatusForbidden, page{Title: "Not connected", Text: "The authorization belongs to somebody else, to another browser, or to another account at the provider than before. Check who you are logged in as, here and there, and begin again."}
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
		return http.StatusBadRequest, page{Title: "Begin again", Text: "This authorization is no longer in progress: it was finished already, or took too long. Go back to the application and begin again."}
	case errors.Is(err, ErrConfiguration):
		return http.StatusBadGateway, page{Title: "Not connected", Text: "The application is not set up correctly at the provider. Tell the people who run it."}
	case re != nil && re.Response != nil:
		return http.StatusBadGateway, page{Title: "Not connected", Text: "The provider did not complete the authorization. Wait a moment, and begin again."}
	}
	return http.StatusBadRequest, page{Title: "Not connected", Text: "The authorization could not be completed. Go back to the application and begin again."}
}

// A page is plain, and has nothing on it that comes from elsewhere.
type page struct {
	Title, Text string
	Back        string // the page to go back to; empty: it is not known
}

const pageStyle = `body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto 0;padding:0 1.5rem;color:#1b1b1b;background:#fff}h1{font-size:1.6rem}@media(prefers-color-scheme:dark){body{color:#eee;background:#1b1b1b}a{color:#8cb4ff}}`

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>` + pageStyle + `</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .Back}}<p><a href="{{.}}">Back</a></p>
{{end}}</main>
</body>
</html>
`))

func showPage(w http.ResponseWriter, status int, p page) {
	style := sha256.Sum256([]byte(pageStyle))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(style[:])+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	pageTemplate.Execute(w, p) // an error here means that the browser has left
}
