package console

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// attention is what needs a person, by harm: what an administrator must mend stops all
// users of a profile; what needs its user stops that one; the rest will.
type attention struct {
	Administrator matters
	Users         matters
	Ends          matters
	Secrets       matters
	Retrying      string // how many grants are; empty: none, or it is not known
	Past          string // how many grants have an end that has passed; empty: none
	Listed        bool   // something is
	Nothing       bool   // nothing needs a person: all was counted and read
}

// matters are those of one kind.
type matters struct {
	List    []matter
	Total   string    // how many there are; empty: not known
	More    bool      // there are more than are listed
	Counted time.Time // when, if that is not now
	Unknown string    // why it is not known what there is: a sentence
	Note    string    // what may be missing: a sentence
}

// A matter is one grant or profile that needs a person.
type matter struct {
	authprofile.GrantKey        // User is empty if it is about the profile
	Name                 string // of the profile
	Gone                 bool   // the profile is not there any more
	Grants               string // how many are concerned; empty: not known
	At                   time.Time
	Ago                  string // At, as a distance from now
	Over                 bool   // At has passed
	Why                  string // what has happened
	Help                 string // what to do
}

// greatestUser is the last user that there can be, in the order of bytes: 512 bytes
// of the greatest letter.
var greatestUser = strings.Repeat("\U0010FFFF", 512/4)

// numberTime is what a page spends on how many grants are concerned: where a profile
// has a million of them, that can take longer than the rest of the page.
const numberTime = 300 * time.Millisecond

// What a list shows of one text, in letters, and of all identifiers, in bytes.
const (
	maxShown       = 100
	maxIdentifiers = 12 << 10
)

func (h *Handler) showAttention(c *call) {
	ctx := c.r.Context()
	c.show(http.StatusOK, "attention", c.view("Needs attention", h.attention(ctx, h.survey.look(ctx), maxListed)))
}

// attention finds what needs a person, with what a survey has found: of each kind at
// most so many.
func (h *Handler) attention(ctx context.Context, found findings, most int) *attention {
	now := time.Now()
	names := names{manager: h.Manager, known: make(map[string]profileName)}
	a := &attention{
		Administrator: h.needAdministrator(ctx, now, most),
		Users:         h.needUser(ctx, now, most),
		Ends:          endSoon(found.Ends, now, most),
		Secrets:       secretsEnd(found.Secrets, now, most),
	}
	if counts := found.Counts; !counts.At.IsZero() {
		// The total is from another time than the list, and must not contradict it.
		a.Users.Counted = counts.At
		if n := counts.Value[authprofile.StatusNeedsReauthorization]; n > int64(len(a.Users.List)) {
			a.Users.Total = number(n)
		}
		if n := counts.Value[authprofile.StatusFailing]; n > 0 {
			a.Retrying = plural(n, "grant is being retried", "grants are being retried")
		}
	}
	if n := found.Ends.Value.Past; n > 0 {
		a.Past = plural(int64(n), "grant has", "grants have")
	}
	a.Nothing = a.Past == ""
	for _, m := range []*matters{&a.Administrator, &a.Users, &a.Ends, &a.Secrets} {
		if m == &a.Secrets { // of a profile that was deleted since, there is none
			m.List = slices.DeleteFunc(m.List, func(one matter) bool { return names.of(ctx, one.ProfileID).Gone })
		}
		a.Nothing = a.Nothing && len(m.List) == 0 && m.Unknown == "" && m.Note == ""
		a.Listed = a.Listed || len(m.List) > 0
		for i := range m.List {
			n := names.of(ctx, m.List[i].ProfileID)
			if m.List[i].Name, m.List[i].Gone = n.Text, n.Gone; n.Gone {
				m.List[i].Why = "The profile was deleted, but this grant was left behind."
				m.List[i].Help = "Revoke it. Without its profile it is of no use."
			}
		}
		m.fit()
	}
	return a
}

// needAdministrator finds the profiles with grants that need an administrator, and
// returns those with the most of them. It looks for the first of such grants of each
// profile, and skips the others.
func (h *Handler) needAdministrator(ctx context.Context, now time.Time, most int) (m matters) {
	filter := authprofile.GrantFilter{Status: authprofile.StatusNeedsConfiguration}
	var after authprofile.GrantKey
	var read reading
	for {
		list, err := h.Manager.ListGrants(ctx, filter, after, 1)
		if read.add(len(list), err); len(list) == 0 {
			break
		}
		if len(m.List) == maxListed {
			m.More = true
			break
		}
		g := list[0]
		after = authprofile.GrantKey{ProfileID: g.ProfileID, User: greatestUser}
		one := grantMatter(g, now)
		one.User = "" // it is about all of them
		m.List = append(m.List, one)
	}
	m.missing(read)

	ctx, cancel := context.WithTimeout(ctx, numberTime)
	defer cancel()
	numbers := make(map[string]int64)
	for i, one := range m.List {
		if counts, err := h.Manager.Count(ctx, one.ProfileID); err == nil && counts[filter.Status] > 0 {
			numbers[one.ProfileID] = counts[filter.Status]
			m.List[i].Grants = plural(counts[filter.Status], "grant", "grants")
		}
	}
	slices.SortStableFunc(m.List, func(a, b matter) int { return cmp.Compare(numbers[b.ProfileID], numbers[a.ProfileID]) })
	if len(m.List) > most {
		m.List, m.More = m.List[:most], true
	}
	return m
}

// needUser finds the grants that need their user.
func (h *Handler) needUser(ctx context.Context, now time.Time, most int) (m matters) {
	list, err := h.Manager.ListGrants(ctx, authprofile.GrantFilter{Status: authprofile.StatusNeedsReauthorization}, authprofile.GrantKey{}, most+1)
	if len(list) > most {
		m.More = true
		list = list[:most]
	}
	for _, g := range list {
		m.List = append(m.List, grantMatter(g, now))
	}
	var read reading
	read.add(len(list), err)
	m.missing(read)
	return m
}

func grantMatter(g *authprofile.Grant, now time.Time) matter {
	s := stateOf(g, now)
	m := matter{GrantKey: g.GrantKey, Why: s.Why, Help: s.Help}
	if g.Failure != nil {
		m.At = g.Failure.Since
		m.Ago = fromNow(m.At, now)
	}
	return m
}

// missing says what could not be read.
func (m *matters) missing(r reading) {
	switch {
	case r.failed != nil && len(m.List) == 0:
		m.Unknown = "The store could not be read. Reload this page in a moment."
	case r.failed != nil:
		m.Note = "The store could not be read to the end, so there may be more. Reload this page in a moment."
	case r.unreadable > 0:
		m.Note = cannotBeRead(r.unreadable, "grant")
	}
}

// endSoon lists the grants that end soon.
func endSoon(ends part[endingGrants], now time.Time, most int) matters {
	m := surveyed(ends)
	m.setTotal(ends.Value.Soon, most)
	for _, g := range ends.Value.Soonest[:min(most, len(ends.Value.Soonest))] {
		one := matter{GrantKey: g.GrantKey, At: g.Ends, Ago: fromNow(g.Ends, now), Over: !g.Ends.After(now)}
		switch g.EndsBy {
		case authprofile.EndsIdle:
			one.Why = "The provider ends grants that go unused for this long."
			one.Help = "Nothing if a program uses it before then. Otherwise, renew it on its page to keep it."
		case authprofile.EndsAbsolute:
			one.Why = "The provider ends every grant this long after consent."
			one.Help = "Ask the user to connect the account again before then."
		default:
			one.Why = "The provider said that the refresh token ends then."
			one.Help = "Ask the user to connect the account again before then, unless a renewal extends it."
		}
		m.List = append(m.List, one)
	}
	return m
}

// secretsEnd lists the profiles whose client secret ends soon, or has ended.
func secretsEnd(secrets part[endingSecrets], now time.Time, most int) matters {
	m := surveyed(secrets)
	m.setTotal(secrets.Value.Ended+secrets.Value.Soon, most)
	for _, s := range secrets.Value.Soonest[:min(most, len(secrets.Value.Soonest))] {
		one := matter{GrantKey: authprofile.GrantKey{ProfileID: s.ProfileID}, At: s.Expires, Ago: fromNow(s.Expires, now), Over: !s.Expires.After(now)}
		if one.Over {
			one.Why = "The client secret has ended."
			one.Help = "Create a new one at the provider, and save it in the profile with the day on which it ends. If you have done that already, correct the day."
		} else {
			one.Why = "The client secret will end."
			one.Help = "Create a new one at the provider before then, and save it in the profile with the day on which it ends."
		}
		m.List = append(m.List, one)
	}
	return m
}

// fit cuts the list to what a page can hold where identifiers are as long as can be.
func (m *matters) fit() {
	size := 0
	for i, one := range m.List {
		// Both are in addresses, where a letter may become several bytes.
		size += 2*len(url.QueryEscape(one.ProfileID)) + len(url.QueryEscape(one.User)) + len(template.HTMLEscapeString(one.ShownUser()+one.Name))
		if size > maxIdentifiers {
			m.List, m.More = m.List[:i], true
			return
		}
	}
}

// ShownUser is the user as a list shows it.
func (m matter) ShownUser() string { return shorten(m.User) }

// shorten cuts a text for a list. The page that the list leads to shows all of it.
func shorten(text string) string {
	if r := []rune(text); len(r) > maxShown {
		return string(r[:maxShown]) + "\u2026"
	}
	return text
}

// setTotal says how many there are, of which so many at most are listed.
func (m *matters) setTotal(total, most int) {
	m.Total, m.More = number(int64(total)), total > most
}

// surveyed begins the list of what a survey has found.
func surveyed[T any](p part[T]) matters {
	m := matters{Counted: p.At}
	switch {
	case p.At.IsZero() && p.Failed.IsZero():
		m.Unknown = "Counting is under way. Reload this page in a moment."
	case p.At.IsZero():
		m.Unknown = "Counting failed. It will be tried again within a few minutes."
	default:
		m.Note = p.note()
	}
	return m
}

// note says what a part may lack, in sentences.
func (p *part[T]) note() string {
	var notes []string
	switch {
	case p.Partial && p.Failed.IsZero():
		notes = append(notes, "There was not enough time to read all records, so there may be more.")
	case p.Partial:
		notes = append(notes, "The store could not be read to the end, so there may be more.")
	case !p.Failed.IsZero():
		notes = append(notes, "The latest count failed. It will be tried again within a few minutes.")
	}
	if p.Unreadable > 0 {
		notes = append(notes, cannotBeRead(p.Unreadable, "record"))
	}
	return strings.Join(notes, " ")
}

// names are those of the profiles on one page. Each is read once.
type names struct {
	manager *authprofile.Manager
	known   map[string]profileName
}

type profileName struct {
	Text string
	Gone bool
}

func (n names) of(ctx context.Context, id string) profileName {
	if known, ok := n.known[id]; ok {
		return known
	}
	found := profileName{Text: shorten(id)}
	p, err := n.manager.Profile(ctx, id)
	switch {
	case err == nil:
		found.Text = shorten(nameOfProfile(p))
	case errors.Is(err, authprofile.ErrNotFound):
		found.Gone = true
	}
	n.known[id] = found
	return found
}
