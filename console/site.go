package console

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authprofile/authprofile"
)

// A site is what Handler and Connections have in common: pages at one level below a
// prefix, for people whom the service knows.
type site struct {
	look       *look
	logger     *slog.Logger
	logUsers   bool
	readOnly   bool
	forUsers   bool // the person is a user of the service, whose identifier is not for pages
	navigation []link
	person     func(*http.Request) (string, error)
	routes     map[string]route
	changed    func() // is told of each change; nil: nothing is
}

// A route is a page by its name: what answers GET, and what answers POST. Only the
// latter may change anything.
type route struct {
	get, post func(*call)
	action    string // what the log calls what POST does; empty: it says so itself, or is not logged
	framed    bool   // the page is shown in a frame of another page of the site
}

// A link is to a page of the same site.
type link struct{ Name, Text string }

// A call is one request, and what is needed to answer it.
type call struct {
	*site
	route
	w     http.ResponseWriter
	r     *http.Request
	name  string     // of the page
	who   string     // the person
	query url.Values // of the address
	form  url.Values // of the body, of a POST

	formAction []string    // where forms of the page may lead, besides the site itself
	frames     bool        // the page has a frame
	begun      bool        // a part of the page is sent
	audited    atomic.Bool // what the request changes is in the log
}

// What a request may have, at most.
const (
	maxQuery  = 16 << 10  // bytes of the address's query
	maxBody   = 512 << 10 // bytes of a form
	maxFields = 1000      // of a form
	bodyTime  = 30 * time.Second
)

// refuseAll answers a request to what is not set up, which must never be open.
func refuseAll(w http.ResponseWriter, logger *slog.Logger, err error) {
	if logger != nil {
		logger.Error("the console is not set up", "error", err.Error())
	}
	setHeaders(w, &call{})
	http.Error(w, "The console is not set up. Its log says why.", http.StatusInternalServerError)
}

// serve answers a request: first it is settled who is there, and whether the request
// is one of the site's own pages.
func serve(w http.ResponseWriter, r *http.Request, s *site) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	c := &call{site: s, route: s.routes[name], w: w, r: r, name: name}
	setHeaders(w, c)
	if path, query, _ := strings.Cut(r.RequestURI, "?"); r.URL.Path == "" && !strings.HasSuffix(path, "/") {
		// This is the prefix without its slash, and all links are relative to the
		// one with it.
		w.Header().Set("Location", "./"+path[strings.LastIndex(path, "/")+1:]+"/"+optionalQuery(query))
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	// The look holds nothing that needs to be kept from anyone, and has to be
	// readable where the pages are not.
	if c.serveAsset() {
		return
	}
	if !c.identify() {
		return
	}
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			s.logger.Error("the console has panicked", "page", c.name, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			c.auditPanic()
			c.problem(http.StatusInternalServerError, "Something went wrong", "This is a fault in the program. Its log has the details.")
		} else if p != nil {
			panic(p)
		}
	}()
	isGet := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case c.get == nil && c.post == nil:
		c.problem(http.StatusNotFound, "Page not found", "The address may be mistyped or out of date.")
	case isGet && c.get != nil:
		if c.readQuery() {
			c.get(c)
		}
	case r.Method == http.MethodPost && c.post != nil:
		if c.admitChange() && c.readQuery() && c.readForm() {
			c.post(c)
		}
	default:
		allowed := "GET, HEAD"
		if c.get == nil {
			allowed = "POST"
		} else if c.post != nil {
			allowed += ", POST"
		}
		w.Header().Set("Allow", allowed)
		c.problem(http.StatusMethodNotAllowed, "This address cannot be opened", "It only receives a form. Open the page with the form, and use its button.")
	}
}

func optionalQuery(query string) string {
	if query == "" {
		return ""
	}
	return "?" + query
}

// identify settles who is there. If that is not known, it answers the request.
func (c *call) identify() (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			c.logger.Error("the function that says who is there has panicked", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			c.problem(http.StatusInternalServerError, "Something went wrong", "The program could not tell who you are. This is a fault in the program. Its log has the details.")
			ok = false
		}
	}()
	who, err := c.person(c.r)
	if (err != nil || who == "") && c.forUsers {
		c.problem(http.StatusForbidden, "Please log in", "You are not logged in here. Log in, and open this page again.")
		return false
	}
	if err != nil || who == "" {
		c.problem(http.StatusForbidden, "You may not see this page", "Log in as an operator, or ask the people who run this service for access.")
		return false
	}
	c.who = who
	return true
}

// admitChange makes sure that a request that changes something is wanted by the person.
// Otherwise it answers the request.
func (c *call) admitChange() bool {
	if c.readOnly {
		c.problem(http.StatusForbidden, "Nothing can be changed here", "This console is read-only.")
		return false
	}
	if err := new(http.CrossOriginProtection).Check(c.r); err != nil {
		c.problem(http.StatusForbidden, "This request came from another site", "Nothing was changed. Open the page itself, and use its buttons.")
		return false
	}
	return true
}

func (c *call) readQuery() bool {
	var err error
	if len(c.r.URL.RawQuery) > maxQuery {
		err = errors.New("too long")
	} else {
		c.query, err = url.ParseQuery(c.r.URL.RawQuery)
	}
	if err != nil {
		c.problem(http.StatusBadRequest, "This address cannot be read", "It may be cut off or mistyped.")
	}
	return err == nil
}

// readForm reads the form that was sent, in bounded space and time.
func (c *call) readForm() bool {
	deadline := http.NewResponseController(c.w)
	_ = deadline.SetReadDeadline(time.Now().Add(bodyTime)) // servers without deadlines have their own
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxBody)
	err := c.r.ParseForm()
	_ = deadline.SetReadDeadline(time.Time{})
	c.form = c.r.PostForm
	fields := 0
	for _, values := range c.form {
		fields += len(values)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge) || fields > maxFields:
		c.problem(http.StatusRequestEntityTooLarge, "The form is too large", "A form may have at most 512 KB. Nothing was changed. Go back: what you typed is still there.")
		return false
	case err != nil:
		c.problem(http.StatusBadRequest, "The form could not be read", "Only part of it arrived. Nothing was changed. Go back and send it again.")
		return false
	}
	return true
}

// setHeaders sets what all answers have.
func setHeaders(w http.ResponseWriter, c *call) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// Nothing is told to other sites. To the site itself the browser says where it
	// comes from, which is how a page behind a proxy that strips a prefix is found
	// again after an authorization.
	h.Set("Referrer-Policy", "same-origin")
	ancestors, frames, frameOption := "'none'", "'none'", "DENY"
	if c.framed {
		ancestors, frameOption = "'self'", "SAMEORIGIN"
	}
	if c.frames {
		frames = "'self'"
	}
	h.Set("X-Frame-Options", frameOption)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// A browser holds where a form leads in the end to form-action, so that the
	// address of a provider has to be allowed where a button leads there.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; frame-src "+frames+
		"; form-action "+strings.Join(append([]string{"'self'"}, c.formAction...), " ")+"; frame-ancestors "+ancestors+"; base-uri 'none'")
}

// A view is what a page is made of.
type view struct {
	Title      string // of the page, and its heading
	ForUsers   bool   // it is a page of Connections
	Person     string // the operator who is there
	Home       bool   // there is a first page that the person may see
	Root       string // of links: "" or "../"
	Here       string // the name of the page
	Navigation []link
	Section    string // the page of the navigation that this one belongs to
	ReadOnly   bool
	Style      string // where the style, the script and the icon are
	Script     string
	Icon       string
	Message    string // what the request before has done: a sentence
	Problem    string // what went wrong: a sentence
	Page       any    // what the page shows
}

// sections are the pages of the navigation that others belong to.
var sections = map[string]string{
	"profile": "profiles", "new-profile": "profiles", "delete-profile": "profiles",
	"grant": "grants", "renew": "grants", "revoke": "grants", "several": "grants",
	"provider": "providers",
}

func (c *call) view(title string, page any) *view {
	v := &view{
		Title: title, ForUsers: c.forUsers, Home: c.who != "", Root: strings.Repeat("../", strings.Count(c.name, "/")), Here: c.name,
		Section: sections[c.name], ReadOnly: c.readOnly, Page: page,
		Style: c.look.styleName, Script: c.look.scriptName, Icon: c.look.iconName,
	}
	if v.Home {
		v.Navigation = c.navigation
	}
	if !c.forUsers {
		v.Person, v.Message = c.who, messages[c.query.Get("done")]
	}
	return v
}

// messages are what a page says after it has been changed, by the value of "done" in
// its address: nothing else in an address can make a page say something.
var messages = map[string]string{
	"saved":   "Saved.",
	"deleted": "The profile and its grants were deleted.",
	"renewed": "The token was renewed.",
}

// show answers with a page. It is made whole before anything is sent, so that one
// that fails does not end in the middle.
func (c *call) show(status int, template string, v *view) {
	setHeaders(c.w, c)
	var page bytes.Buffer
	if err := c.look.pages[template].ExecuteTemplate(&page, "layout", v); err != nil {
		c.logger.Error("a page of the console cannot be made", "page", c.name, "error", err.Error())
		http.Error(c.w, "This page cannot be shown. The log says why.", http.StatusInternalServerError)
		return
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(page.Bytes()) // a browser that has left needs no answer
}

// problem answers with a page that says what went wrong, and what to do.
func (c *call) problem(status int, title, text string) {
	if c.framed { // the page around the frame has all else
		c.startBare(status)
		c.part("refused", title+". "+text)
		c.part("end", nil)
		return
	}
	v := c.view(title, text)
	v.Message = ""
	c.show(status, "problem", v)
}

// fail answers with a page about an error of the Manager.
func (c *call) fail(err error) {
	status, title, text := explain(err)
	c.problem(status, title, text)
}

// explain says what an error means to the person. The text of an *authprofile.Error
// has no secret and no user in it.
func explain(err error) (status int, title, text string) {
	if _, damaged := damagedRecord(err); damaged {
		return http.StatusInternalServerError, "It cannot be read", "Its record is damaged, or sealed with a key that this service does not have. Nothing was changed. To try again does not help: bring the key back, or restore the record."
	}
	var e *authprofile.Error
	switch {
	case errors.Is(err, authprofile.ErrNotFound):
		return http.StatusNotFound, "Not found", "It may have been deleted in the meantime."
	case errors.Is(err, authprofile.ErrConflict):
		return http.StatusConflict, "Changed in the meantime", "Another person or process changed it after you opened the page. Reload the page to see how it is now."
	case errors.As(err, &e):
		return http.StatusServiceUnavailable, "That did not work", "Nothing is lost. Try again in a moment. The reason: " + err.Error()
	}
	return http.StatusServiceUnavailable, "That did not work", "Nothing is lost. Try again in a moment."
}

// redirect sends the browser to a page of the site, by GET. Names and values of the
// query follow each other.
func (c *call) redirect(name string, query ...string) {
	c.w.Header().Set("Location", address(name, query...))
	c.w.WriteHeader(http.StatusSeeOther)
}

// address returns a link to a page of the site, relative to any other. Parameters
// without a value are left out.
func address(name string, query ...string) string {
	values := make(url.Values)
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			values.Set(query[i], query[i+1])
		}
	}
	return cmp.Or(name, "./") + optionalQuery(values.Encode())
}

// logText is an error for the log. A database may have put the user into its text, where
// they are not to be unless users are logged.
func logText(err error, key authprofile.GrantKey, logUsers bool) string {
	if logUsers || key.User == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), key.User, "[user]")
}

// audit logs a change: what the person did, and with what.
func (c *call) audit(action string, key authprofile.GrantKey, err error) {
	c.audited.Store(true)
	if c.changed != nil {
		c.changed()
	}
	attrs := []any{"action", action, "profile", key.ProfileID}
	if !c.forUsers {
		attrs = append([]any{"person", c.who}, attrs...)
	}
	if c.logUsers && key.User != "" {
		attrs = append(attrs, "user", key.User)
	}
	if err != nil {
		c.logger.Warn("console: failed", append(attrs, "error", logText(err, key, c.logUsers))...)
		return
	}
	c.logger.Info("console: done", attrs...)
}

var errPanicked = errors.New("panic")

// auditPanic logs a change that has ended in a panic, and may have been made, unless it
// is in the log already.
func (c *call) auditPanic() {
	if c.form == nil || c.action == "" || c.audited.Load() {
		return
	}
	key := authprofile.GrantKey{ProfileID: cmp.Or(c.form.Get("profile"), c.form.Get("id")), User: c.form.Get("user")}
	if c.forUsers {
		key.User = c.who
	}
	c.audit(c.action, key, errPanicked)
}
