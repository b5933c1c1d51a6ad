package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

// What status shows of each kind, at most.
const (
	maxShown = 10
	soon     = 30 * 24 * time.Hour
)

// A statusView is what "status" shows, in JSON.
type statusView struct {
	At     time.Time                    `json:"at"`
	Counts map[authprofile.Status]int64 `json:"counts"`

	// Each list has the first ten; the member of the same name with "more_"
	// before it says that there are others.
	Administrator []profileTrouble `json:"needs_administrator"` // by profile
	Users         []grantTrouble   `json:"needs_user"`
	Failing       []profileTrouble `json:"failing"` // by profile
	Ending        []grantTrouble   `json:"ending"`
	Secrets       []secretTrouble  `json:"secrets_ending"`

	MoreAdministrator bool `json:"more_needs_administrator"`
	MoreUsers         bool `json:"more_needs_user"`
	MoreFailing       bool `json:"more_failing"`
	MoreEnding        bool `json:"more_ending"`
	MoreSecrets       bool `json:"more_secrets_ending"`
}

// A profileTrouble is a profile with grants in a state, and why the first of them is.
type profileTrouble struct {
	ProfileID string    `json:"profile_id"`
	Grants    int64     `json:"grants"`
	Reason    string    `json:"reason,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Run       string    `json:"run,omitempty"`
}

// A grantTrouble is a grant that needs its user, or will.
type grantTrouble struct {
	authprofile.GrantKey
	Account string    `json:"account,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Ends    time.Time `json:"ends,omitzero"`
	Run     string    `json:"run"`
}

// A secretTrouble is a profile whose client secret ends.
type secretTrouble struct {
	ProfileID string    `json:"profile_id"`
	Ends      time.Time `json:"ends"`
	Ended     bool      `json:"ended"`
}

func newStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what needs whom",
		Long: `Show how many grants are in which state, and what needs a person: profiles that an
administrator has to mend, grants whose users have to connect again, and grants and
client secrets that end within 30 days. Of each it shows the first ten. It shows as
well which profiles have grants that fail for now: those are tried again by
themselves.

The exit code is 0 if all could be read, whatever it is.

In JSON it is an object with at, counts by status, and the arrays needs_administrator,
needs_user, failing, ending and secrets_ending; more_needs_user and its like say
whether there are others. Members run are the command that helps.`,
		Example: "  authprofile status\n  authprofile status --output json | jq .counts",
		Args:    args(0, 0),
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		m, err := a.open(ctx, existing)
		if err != nil {
			return err
		}
		v, err := readStatus(ctx, m, time.Now())
		if v == nil {
			return err
		}
		o := a.output(cmd)
		if o.isJSON() {
			return errors.Join(o.json(v), err)
		}
		return errors.Join(o.status(v), err)
	}
	return cmd
}

// readStatus reads what is to be shown: the counts, and a bounded number of grants,
// however many there are. With a result, the error is that some could not be read.
func readStatus(ctx context.Context, m *authprofile.Manager, now time.Time) (*statusView, error) {
	v := &statusView{At: now.UTC().Truncate(time.Second)}
	counts, err := m.Count(ctx, "")
	if err != nil {
		return nil, err
	}
	v.Counts = make(map[authprofile.Status]int64)
	for _, s := range statuses {
		v.Counts[s] = counts[s]
	}
	var unread error
	read := func(f authprofile.GrantFilter, after authprofile.GrantKey, limit int) []*authprofile.Grant {
		grants, err := m.ListGrants(ctx, f, after, limit)
		if unread == nil {
			unread = err
		}
		return grants
	}
	profiles := func(s authprofile.Status) (found []profileTrouble, more bool) {
		found = []profileTrouble{}
		for after := (authprofile.GrantKey{}); v.Counts[s] > 0; {
			first := read(authprofile.GrantFilter{Status: s}, after, 1)
			if len(first) == 0 {
				return found, false
			}
			if len(found) == maxShown {
				return found, true
			}
			g := first[0]
			n, err := m.Count(ctx, g.ProfileID)
			if err != nil && unread == nil {
				unread = err
			}
			t := profileTrouble{ProfileID: g.ProfileID, Grants: n[s], Reason: reasonOf(g.Failure), Since: failingSince(g), Run: whatToDo(g)}
			found = append(found, t)
			after = authprofile.GrantKey{ProfileID: g.ProfileID, User: lastUser}
		}
		return found, false
	}
	v.Administrator, v.MoreAdministrator = profiles(authprofile.StatusNeedsConfiguration)
	v.Failing, v.MoreFailing = profiles(authprofile.StatusFailing)

	users := read(authprofile.GrantFilter{Status: authprofile.StatusNeedsReauthorization}, authprofile.GrantKey{}, maxShown+1)
	v.Users, v.MoreUsers = troublesOf(users)
	var ending []*authprofile.Grant
	for _, s := range []authprofile.Status{authprofile.StatusActive, authprofile.StatusFailing} {
		ending = append(ending, read(authprofile.GrantFilter{Status: s, EndsBefore: now.Add(soon)}, authprofile.GrantKey{}, maxShown+1)...)
	}
	v.Ending, v.MoreEnding = troublesOf(ending)
	slices.SortStableFunc(v.Ending, func(a, b grantTrouble) int { return a.Ends.Compare(b.Ends) })

	v.Secrets = []secretTrouble{}
	for after := ""; ; {
		list, err := m.ListProfiles(ctx, after, page)
		if unread == nil {
			unread = err
		}
		for _, p := range list {
			if p.SecretExpires.IsZero() || p.SecretExpires.After(now.Add(soon)) {
				continue
			}
			if len(v.Secrets) == maxShown {
				v.MoreSecrets = true
				return v, unreadable(unread)
			}
			v.Secrets = append(v.Secrets, secretTrouble{p.ID, p.SecretExpires, p.SecretExpires.Before(now)})
		}
		if len(list) < page {
			return v, unreadable(unread)
		}
		after = list[page-1].ID
	}
}

// lastUser comes after every user: with it the grants of a profile are passed over.
// Users have at most 512 bytes, and are compared byte by byte.
var lastUser = strings.Repeat("\U0010FFFF", 512/4)

// troublesOf returns what is shown of grants that need their users, and whether there
// are more.
func troublesOf(grants []*authprofile.Grant) (found []grantTrouble, more bool) {
	found = []grantTrouble{}
	for _, g := range grants[:min(len(grants), maxShown)] {
		found = append(found, grantTrouble{g.GrantKey, g.Account, reasonOf(g.Failure), failingSince(g), g.Ends, connectCommand(g.ProfileID, g.User)})
	}
	return found, len(grants) > maxShown
}

// status writes a status for people.
func (o *output) status(v *statusView) error {
	var rows [][]cell
	for _, s := range statuses {
		row := cells(strconv.FormatInt(v.Counts[s], 10), statusWords[s])
		if v.Counts[s] > 0 {
			row[0].colour = statusColour(s)
		}
		rows = append(rows, row)
	}
	if err := o.write("Grants\n" + o.align(indented(rows))); err != nil {
		return err
	}
	profileRows := func(list []profileTrouble) (rows [][]cell) {
		for _, t := range list {
			rows = append(rows, cells(t.ProfileID, plural(t.Grants, "grant"), t.Reason, "since "+o.time(t.Since), t.Run))
		}
		return rows
	}
	grantRows := func(list []grantTrouble, row func(t grantTrouble) string) (rows [][]cell) {
		for _, t := range list {
			rows = append(rows, cells(t.ProfileID, t.User, t.Account, row(t), t.Run))
		}
		return rows
	}
	var secrets [][]cell
	for _, t := range v.Secrets {
		word := "ends "
		if t.Ended {
			word = "has ended "
		}
		secrets = append(secrets, cells(t.ProfileID, word+o.time(t.Ends), "authprofile profile apply, with a new secret"))
	}
	for _, part := range []struct {
		title string
		rows  [][]cell
		more  bool
		list  string
	}{
		{"Needs an administrator", profileRows(v.Administrator), v.MoreAdministrator, "authprofile grant list --status needs_configuration"},
		{"Needs its user", grantRows(v.Users, func(t grantTrouble) string { return t.Reason }), v.MoreUsers, "authprofile grant list --status needs_reauthorization"},
		{"Fails for now", profileRows(v.Failing), v.MoreFailing, "authprofile grant list --status failing"},
		{"Ends within 30 days", grantRows(v.Ending, func(t grantTrouble) string { return "ends " + o.time(t.Ends) }), v.MoreEnding, "authprofile grant list --ends-within 30d"},
		{"Client secrets that end within 30 days", secrets, v.MoreSecrets, "authprofile profile list --output json"},
	} {
		if len(part.rows) == 0 {
			continue
		}
		text := "\n" + o.paint(bold, part.title) + "\n" + o.align(indented(part.rows))
		if part.more {
			text += "  and more: " + part.list + "\n"
		}
		if err := o.write(text); err != nil {
			return err
		}
	}
	return nil
}

// indented sets rows in from the left.
func indented(rows [][]cell) [][]cell {
	for _, row := range rows {
		row[0].text = "  " + row[0].text
	}
	return rows
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
