package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authprofile/authprofile"
)

func (h *Handler) grantRoutes() map[string]route {
	return map[string]route{
		"grants":  {get: h.listGrants},
		"grant":   {get: h.showGrant},
		"renew":   {post: h.renew, action: "renew"},
		"connect": {post: h.connect, action: "connect"},
		"revoke":  {get: h.askRevoke, post: h.revoke, action: "revoke"},
		"several": {post: h.several}, // which says of each change what it is
	}
}

const (
	listLength  = 50     // grants on a page, and at once
	listSize    = 70_000 // bytes that they may have there
	damagedSize = 8_000  // bytes that the keys of records may have that cannot be read
	maxDays     = 3650   // of the filter for grants that end
	longestID   = 255    // bytes of an identifier, as Store says
	longestUser = 512    // bytes of a user
)

// A grantsQuery is what the address of the list says: which grants are meant, and
// after which one the page begins.
type grantsQuery struct {
	Status  authprofile.Status
	Profile string
	User    string
	Days    string // within how many days they end
	After   authprofile.GrantKey
}

// statuses are those to choose from.
var statuses = []authprofile.Status{
	authprofile.StatusActive, authprofile.StatusFailing,
	authprofile.StatusNeedsReauthorization, authprofile.StatusNeedsConfiguration,
}

var errFilter = errors.New("not a filter")

// readGrantsQuery reads the address of the list. Whatever the list itself would not
// have made is an error.
func readGrantsQuery(query url.Values) (grantsQuery, error) {
	for _, name := range []string{"status", "profile", "user", "days", "after_profile", "after_user"} {
		if len(query[name]) > 1 {
			return grantsQuery{}, errFilter
		}
	}
	q := grantsQuery{
		Status: authprofile.Status(query.Get("status")), Profile: query.Get("profile"), User: query.Get("user"), Days: query.Get("days"),
		After: authprofile.GrantKey{ProfileID: query.Get("after_profile"), User: query.Get("after_user")},
	}
	known := q.Status == ""
	for _, s := range statuses {
		known = known || s == q.Status
	}
	if q.Days != "" {
		n, err := strconv.Atoi(q.Days)
		known = known && err == nil && n >= 1 && n <= maxDays
	}
	if !known || !isIdentifier(q.Profile, longestID) || !isIdentifier(q.User, longestUser) ||
		!isIdentifier(q.After.ProfileID, longestID) || !isIdentifier(q.After.User, longestUser) || q.After.ProfileID == "" && q.After.User != "" {
		return grantsQuery{}, errFilter
	}
	return q, nil
}

// isIdentifier reports whether a Store could know s as an identifier or a user.
func isIdentifier(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// filter returns which grants are meant.
func (q grantsQuery) filter(now time.Time) authprofile.GrantFilter {
	f := authprofile.GrantFilter{ProfileID: q.Profile, User: q.User, Status: q.Status}
	if n, err := strconv.Atoi(q.Days); err == nil {
		f.EndsBefore = now.Add(time.Duration(n) * 24 * time.Hour)
	}
	return f
}

// address returns that of the list, from the grant after the given one.
func (q grantsQuery) address(after authprofile.GrantKey) string {
	return address("grants", "status", string(q.Status), "profile", q.Profile, "user", q.User, "days", q.Days,
		"after_profile", after.ProfileID, "after_user", after.User)
}

func (q grantsQuery) isFiltered() bool {
	return q.Status != "" || q.Profile != "" || q.User != "" || q.Days != ""
}

// A grantsPage is what the list of grants shows.
type grantsPage struct {
	Query      grantsQuery
	Statuses   []authprofile.Status
	Rows       []listedGrant
	First      string                 // the address of the first page, if this is another
	Next       string                 // that of the next page, if there is one
	Here       string                 // that of the first page, to come back to
	Damaged    int                    // records that cannot be read
	Unreadable []authprofile.GrantKey // the first of them
	Empty      []string               // what it means that there are none
}

// A listedGrant is a line of the list.
type listedGrant struct {
	authprofile.GrantKey
	Profile profileName
	State   state
	Account string
	Since   time.Time
	Ends    time.Time
}

// Value is what the form says of a chosen grant.
func (r listedGrant) Value() string { return keyValue(r.GrantKey) }

func keyValue(key authprofile.GrantKey) string {
	return url.Values{"profile": {key.ProfileID}, "user": {key.User}}.Encode()
}

func (h *Handler) listGrants(c *call) {
	q, err := readGrantsQuery(c.query)
	if err != nil {
		c.problem(http.StatusBadRequest, "This address cannot be read", "One of its filters does not exist. Open the list and choose the filters there.")
		return
	}
	now := time.Now()
	// One more than is shown tells whether there is a next page.
	list, err := h.Manager.ListGrants(c.r.Context(), q.filter(now), q.After, listLength+1)
	damaged, err := damagedRecords(err)
	if err != nil {
		c.fail(err)
		return
	}
	page := grantsPage{
		Query: q, Statuses: statuses, Here: q.address(authprofile.GrantKey{}),
		Damaged: len(damaged), Unreadable: fit(damaged, listLength, damagedSize, keySize),
	}
	if q.After != (authprofile.GrantKey{}) {
		page.First = page.Here
	}
	shown := fit(list, listLength, listSize, func(g *authprofile.Grant) int {
		return 600 + keySize(g.GrantKey) + len(keyValue(g.GrantKey)) + textSize(g.Account)
	})
	if len(shown) < len(list) {
		page.Next = q.address(shown[len(shown)-1].GrantKey)
	}
	names := names{manager: h.Manager, known: make(map[string]profileName)}
	for _, g := range shown {
		page.Rows = append(page.Rows, listedGrant{g.GrantKey, names.of(c.r.Context(), g.ProfileID), stateOf(g, now), g.Account, sinceOf(g), g.Ends})
	}
	if len(list) == 0 && len(damaged) == 0 {
		page.Empty = whyEmpty(q)
	}
	c.show(http.StatusOK, "grants", c.view("Grants", page))
}

// sinceOf returns since when a grant is in its state: since its first failure, or
// since the consent, or, of an application, since its token was issued.
func sinceOf(g *authprofile.Grant) time.Time {
	switch {
	case g.Failure != nil:
		return g.Failure.Since
	case !g.Authorized.IsZero():
		return g.Authorized
	}
	return g.Obtained
}

// whyEmpty says that a list has no grant in it, and what that means.
func whyEmpty(q grantsQuery) []string {
	switch {
	case q.After != (authprofile.GrantKey{}):
		return []string{"There are no more grants."}
	case !q.isFiltered():
		return []string{"There are no grants yet.", "A user's grant is created when the user connects an account, and an application's when a program first asks for a token."}
	case q.Profile != "" || q.User != "" || q.Days != "":
		return []string{"No grant matches these filters.", "Profile and user must match exactly, including upper and lower case."}
	case q.Status == authprofile.StatusActive:
		return []string{"No grant is active.", "No program can get a token without a failure now."}
	case q.Status == authprofile.StatusFailing:
		return []string{"No grant is being retried.", "No renewal is waiting for its next attempt."}
	case q.Status == authprofile.StatusNeedsReauthorization:
		return []string{"No grant needs its user.", "No user needs to connect an account again."}
	}
	return []string{"No grant needs an administrator.", "No provider refuses a profile as it is now."}
}

// readKey reads which grant is meant, from an address or a form. If it says none, it
// answers the request.
func (c *call) readKey(values url.Values) (authprofile.GrantKey, bool) {
	key := authprofile.GrantKey{ProfileID: values.Get("profile"), User: values.Get("user")}
	if !isGrantKey(key) {
		c.problem(http.StatusBadRequest, "This address cannot be read", "It does not say which grant is meant. Find the grant in the list.")
		return key, false
	}
	return key, true
}

func isGrantKey(key authprofile.GrantKey) bool {
	return key.ProfileID != "" && isIdentifier(key.ProfileID, longestID) && isIdentifier(key.User, longestUser)
}

// within returns a context for what is to be finished even if the person leaves the
// page, and lets the answer take so long.
func (c *call) within(limit time.Duration) (context.Context, context.CancelFunc) {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(limit + 10*time.Second)) // servers without deadlines have their own
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), limit)
}
