package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
)

// Connections serves the page on which the users of a service connect their accounts:
// what can be connected, what is, as whom and since when, with buttons to connect,
// reconnect and disconnect.
//
// A person sees and changes what is theirs, as the User function of Redirect says, and
// nothing else: whatever else an address or a form names is ignored. The page does not
// show the user's identifier, which may not be meant for people.
//
// With "?profile=ID" in its address the page begins with that profile. Such a link can
// be sent to anyone: it holds no secret, and who follows it sees what is their own.
//
// Where Redirect has no Done, people come back to the page after they have been at the
// provider, and it says how things are now. After a failure there, such as a denied
// consent, the ErrorHandler of Redirect answers, or its own plain page. An ErrorHandler
// can send people back, too, to the address of the page with "?returned=ID" at its end:
// the page then says whether the profile is connected.
//
// A person who is not logged in is answered with 403 and a plain page. A service that
// has a page for that sends them there before it calls ServeHTTP.
//
// The fields of a Connections must not change after the first request.
type Connections struct {
	// Redirect is required, with its Manager and User.
	Redirect *authprofile.RedirectHandler

	// Profiles are the IDs of those that can be connected, in the order in which
	// they are shown. Their names and descriptions are what people read. One that
	// does not exist, or is not for users, is left out, and the log says so.
	Profiles []string

	// Logger gets a record for each disconnection. If nil, nothing is logged. Who
	// has done it is not in it, unless LogUsers says so.
	Logger   *slog.Logger
	LogUsers bool

	// Templates have the service's own look; see the package. If nil, there is none.
	Templates fs.FS

	setUp  sync.Once
	look   *look
	broken error // why nothing can be shown
}

// Validate says what is missing, or why Templates cannot be used. A Connections with
// such a problem answers all requests with 500.
func (o *Connections) Validate() error {
	o.setUp.Do(func() {
		var own error
		o.look, own = newLook(o.Templates)
		o.broken = errors.Join(missing(o.Redirect == nil, "Connections.Redirect"),
			missing(o.Redirect != nil && o.Redirect.Manager == nil, "Connections.Redirect.Manager"),
			missing(o.Redirect != nil && o.Redirect.User == nil, "Connections.Redirect.User"), own)
		if o.Logger == nil {
			o.Logger = slog.New(slog.DiscardHandler)
		}
	})
	return o.broken
}

// ServeHTTP serves the page.
func (o *Connections) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := o.Validate(); err != nil {
		refuseAll(w, o.Logger, err)
		return
	}
	serve(w, r, &site{
		look: o.look, logger: o.Logger, logUsers: o.LogUsers, forUsers: true,
		person: o.Redirect.User,
		routes: map[string]route{
			"":           {get: o.showAll},
			"connect":    {post: o.connect},
			"disconnect": {get: o.askDisconnect, post: o.disconnect, action: "disconnect"},
		},
	})
}

// A connection is what a person has connected of a profile, in words for them.
type connection struct {
	ID, Name, Description string

	Connected bool // there is a grant, or one that cannot be read
	Account   string
	Since     time.Time

	Tone, Word, Help string // the state

	Asked string // what to do, if a link has asked for this one
	Now   string // the state in a sentence
}

// Shown tells the connection from the same person's next one, and from others': it is
// when it was authorized, in nanoseconds.
func (n *connection) Shown() string { return strconv.FormatInt(n.Since.UnixNano(), 10) }

// warn logs what has failed.
func (o *Connections) warn(message string, key authprofile.GrantKey, err error) {
	o.Logger.Warn(message, "profile", key.ProfileID, "error", logText(err, key, o.LogUsers))
}

// readTime is how long reading all that a page shows may take.
const readTime = 10 * time.Second

// profile returns one that can be connected. Otherwise the error is
// authprofile.ErrNotFound, or the Store's.
func (o *Connections) profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if !slices.Contains(o.Profiles, id) {
		return nil, authprofile.ErrNotFound
	}
	p, err := o.Redirect.Manager.Profile(ctx, id)
	if err == nil && p.Type != authprofile.TypeUser {
		err = fmt.Errorf("%w: it is not for users", authprofile.ErrNotFound)
	}
	if err != nil {
		o.warn("console: a profile cannot be connected", authprofile.GrantKey{ProfileID: id}, err)
		return nil, err
	}
	return p, nil
}

// connectionOf reads what a user has connected of a profile.
func (o *Connections) connectionOf(ctx context.Context, p *authprofile.Profile, user string) *connection {
	n := &connection{ID: p.ID, Name: strings.TrimSpace(p.Name), Description: p.Description}
	if n.Name == "" {
		n.Name = "Connection without a name"
	}
	key := authprofile.GrantKey{ProfileID: p.ID, User: user}
	g, err := o.Redirect.Manager.Grant(ctx, key)
	if errors.Is(err, authprofile.ErrNotFound) {
		n.Tone, n.Word = "muted", "Not connected"
		n.Now, n.Asked = n.Name+" is not connected.", "Please connect "+n.Name+"."
		return n
	}
	n.Connected = true
	if err != nil {
		o.warn("console: a grant cannot be read", key, err)
		g = new(authprofile.Grant)
	}
	n.Account, n.Since = g.Account, g.Authorized
	nothingToDo := "You do not need to do anything."
	switch g.Status {
	case authprofile.StatusActive:
		n.Tone, n.Word = "good", "Connected"
		n.Now = n.Name + " is connected."
		if n.Account != "" {
			n.Now = n.Name + " is connected as " + n.Account + "."
		}
		n.Asked = n.Name + " works. " + nothingToDo
	case authprofile.StatusFailing:
		n.Tone, n.Word, n.Help = "warn", "Temporarily interrupted", "The service keeps trying. "+nothingToDo
		n.Now = n.Name + " is connected, but is not working right now."
		n.Asked = "You do not need to do anything about " + n.Name + "."
	case authprofile.StatusNeedsReauthorization:
		n.Tone, n.Word, n.Help = "bad", "Reconnect needed", "The connection has ended. Reconnect it, and everything works as before."
		n.Now = n.Name + " needs to be reconnected."
		n.Asked = "Please reconnect " + n.Name + "."
	case authprofile.StatusNeedsConfiguration:
		n.Tone, n.Word, n.Help = "bad", "Not working right now", "The people who run this service need to fix it. Usually you do not need to do anything."
		n.Now = n.Name + " is connected, but is not working right now."
		n.Asked = "If you were asked to connect " + n.Name + " again, please do so. Otherwise you do not need to do anything."
	default:
		n.Tone, n.Word, n.Help = "warn", "Not known", "The state of this connection is not known right now. Reload the page in a moment. If this lasts, reconnect it."
		n.Now = "It is not known right now whether " + n.Name + " is connected."
		n.Asked = n.Help
	}
	return n
}

// showAll shows all connections.
func (o *Connections) showAll(c *call) { o.showList(c, "") }

// showList shows all connections, and the problem, if there is one.
func (o *Connections) showList(c *call, problem string) {
	ctx, cancel := context.WithTimeout(c.r.Context(), readTime)
	defer cancel()
	asked, returned, disconnected := c.query.Get("profile"), c.query.Get("returned"), c.query.Get("disconnected")
	ids := slices.Clone(o.Profiles)
	if i := slices.Index(ids, asked); i > 0 {
		ids = slices.Insert(slices.Delete(ids, i, i+1), 0, asked)
	}
	var list []*connection
	var message string
	found, unread := asked == "", 0
	for _, id := range ids {
		p, err := o.profile(ctx, id)
		if errors.Is(err, authprofile.ErrNotFound) {
			continue
		}
		found = found || id == asked
		if err != nil {
			unread++
			continue
		}
		n := o.connectionOf(ctx, p, c.who)
		// An address says which one the sentence is about, and not what it says.
		switch {
		case id == returned && n.Tone == "good", id == disconnected && !n.Connected:
			message = n.Now
		case id == returned:
			problem = n.Now
		}
		if id != asked {
			n.Asked = ""
		}
		c.allowConnect(o.Redirect.Manager, p)
		list = append(list, n)
	}
	if len(list) == 0 && unread > 0 {
		c.problem(http.StatusServiceUnavailable, "Your connections cannot be shown right now", "Nothing is lost. Try again in a moment.")
		return
	}
	slices.Sort(c.formAction)
	c.formAction = slices.Compact(c.formAction)
	status := http.StatusOK
	if !found {
		status, problem = http.StatusNotFound, "The connection that the link asks for is not available here. Please tell the person who sent it to you."
	}
	v := c.view("Your connections", struct {
		List   []*connection
		Unread int
	}{list, unread})
	v.Message, v.Problem = message, problem
	c.show(status, "connections", v)
}

// chosen returns the profile that a request is about. If there is none, it answers the
// request.
func (o *Connections) chosen(c *call, id string) *authprofile.Profile {
	p, err := o.profile(c.r.Context(), id)
	switch {
	case err == nil:
		return p
	case errors.Is(err, authprofile.ErrNotFound):
		c.problem(http.StatusNotFound, "This cannot be connected here", "It may no longer be offered. Nothing was changed.")
	default:
		c.problem(http.StatusServiceUnavailable, "That did not work", "Nothing was changed. Try again in a moment.")
	}
	return nil
}

// connect sends the browser to the provider.
func (o *Connections) connect(c *call) {
	p := o.chosen(c, c.form.Get("profile"))
	if p == nil {
		return
	}
	// The page to come back to is this one, whatever the form says.
	r := c.r.WithContext(c.r.Context())
	r.Form = maps.Clone(c.r.Form)
	r.Form.Del("return_to")
	if page := c.asSeen(strings.TrimPrefix(address("", "returned", p.ID), "./")); page != "" {
		r.Form.Set("return_to", page)
	}
	h := &authprofile.RedirectHandler{
		Manager: o.Redirect.Manager,
		User:    func(*http.Request) (string, error) { return c.who, nil },
		Options: o.Redirect.Options,
		// The person has not left the site yet, and stays on its pages.
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { o.notBegun(c, p, err) },
	}
	h.Begin(c.w, r, p)
}

// notBegun says why a browser was not sent to the provider.
func (o *Connections) notBegun(c *call, p *authprofile.Profile, err error) {
	o.warn("console: an authorization cannot begin", authprofile.GrantKey{ProfileID: p.ID, User: c.who}, err)
	if errors.Is(err, authprofile.ErrConfiguration) {
		c.problem(http.StatusBadGateway, "This cannot be connected right now", "The people who run this service need to fix it first. Nothing was changed.")
		return
	}
	c.problem(http.StatusServiceUnavailable, "That did not work", "Nothing was changed. Try again in a moment.")
}

// askDisconnect asks before a connection is ended.
func (o *Connections) askDisconnect(c *call) {
	p := o.chosen(c, c.query.Get("profile"))
	if p == nil {
		return
	}
	n := o.connectionOf(c.r.Context(), p, c.who)
	if !n.Connected {
		c.redirect("", "disconnected", p.ID)
		return
	}
	c.show(http.StatusOK, "disconnect", c.view("Disconnect "+n.Name+"?", n))
}

// disconnectTime is how long ending a connection may take.
const disconnectTime = time.Minute

// disconnect ends a connection. That goes on if the browser leaves, since a grant
// that has ended at the provider alone would look like one that works.
func (o *Connections) disconnect(c *call) {
	p := o.chosen(c, c.form.Get("profile"))
	if p == nil {
		return
	}
	ctx, cancel := c.within(disconnectTime)
	defer cancel()
	// The page says which connection it has shown: the person may have logged in as
	// another user since, or have connected another account.
	if shown := c.form.Get("shown"); shown != "" {
		if n := o.connectionOf(ctx, p, c.who); n.Connected && n.Shown() != shown {
			v := c.view("Disconnect "+n.Name+"?", n)
			v.Problem = "Nothing was changed: this is not the connection that the page has shown. You may be logged in as another user now, or have connected another account. If you want to disconnect this one, say so again."
			c.show(http.StatusConflict, "disconnect", v)
			return
		}
	}
	key := authprofile.GrantKey{ProfileID: p.ID, User: c.who}
	err := o.Redirect.Manager.Revoke(ctx, key)
	c.audit(c.action, key, err)
	if err == nil {
		c.redirect("", "disconnected", p.ID)
		return
	}
	// A page that the person can load again must not say this once more, so that it is
	// said here, and not after a redirect.
	n := o.connectionOf(c.r.Context(), p, c.who)
	if n.Connected {
		c.problem(http.StatusServiceUnavailable, "That did not work", n.Name+" may still be connected. Try again in a moment.")
		return
	}
	o.showList(c, n.Name+" is disconnected here, but the provider could not be told. To end it there too, open your account's settings at the provider and remove this service.")
}
