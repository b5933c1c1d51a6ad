package console

import (
	"cmp"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// functions are what templates can call.
var functions = template.FuncMap{
	"address": func(name string, query ...string) template.URL { return template.URL(address(name, query...)) },
	"when":    when,
	"status":  statusWord,
	"tone":    tone,
	"join":    func(list []string) string { return strings.Join(list, " ") },
}

// nameOfProfile is what a profile is called: by its ID, if its name would show nothing.
func nameOfProfile(p *authprofile.Profile) string { return cmp.Or(strings.TrimSpace(p.Name), p.ID) }

// when shows a time, in UTC, as text and for programs.
func when(t time.Time) template.HTML {
	if t.IsZero() {
		return "not known"
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.Format(time.RFC3339), t.Format("2 Jan 2006, 15:04 UTC")))
}

// span says how long a duration is, in one unit: "5 minutes".
func span(d time.Duration) string {
	units := []struct {
		name   string
		length time.Duration
	}{{"year", 365 * 24 * time.Hour}, {"month", 30 * 24 * time.Hour}, {"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}}
	for _, u := range units {
		// Two of them at least: "36 hours" says more than "1 day".
		if n := d / u.length; n >= 2 || n == 1 && (u.length <= time.Hour) {
			if n == 1 {
				return "1 " + u.name
			}
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return "less than a second"
}

// fromNow says how far away a time is: "in 5 minutes", "5 minutes ago".
func fromNow(t, now time.Time) string {
	if t.After(now) {
		return "in " + span(t.Sub(now))
	}
	return span(now.Sub(t)) + " ago"
}

// statusWord is what a status is called. That of a grant that is retried goes on
// with when: see stateOf.
func statusWord(s authprofile.Status) string {
	switch s {
	case authprofile.StatusActive:
		return "Active"
	case authprofile.StatusFailing:
		return "Retrying"
	case authprofile.StatusNeedsReauthorization:
		return "Needs its user"
	case authprofile.StatusNeedsConfiguration:
		return "Needs an administrator"
	}
	return "Unknown"
}

// tone is the class of a status, which gives it its colour.
func tone(s authprofile.Status) string {
	switch s {
	case authprofile.StatusActive:
		return "good"
	case authprofile.StatusFailing:
		return "warn"
	}
	return "bad"
}

// A state says what a grant's status means.
type state struct {
	Word string // one or a few words
	Tone string // its class
	Why  string // what has happened; empty while all is well
	Next string // what happens by itself
	Help string // what a person can do
}

// stateOf says what the state of a grant is: its status and the reason for it, never
// the age of its access token.
func stateOf(g *authprofile.Grant, now time.Time) state {
	s := state{Word: statusWord(g.Status), Tone: tone(g.Status)}
	f := g.Failure
	if f == nil {
		f = new(authprofile.Failure)
	}
	s.Why = reasons[f.Reason]
	switch g.Status {
	case authprofile.StatusActive:
		s.Next = "The token is renewed when a program asks for one shortly before its end."
		s.Help = "Nothing needs to be done."
		if g.User == "" || g.RefreshToken != "" {
			break
		}
		s.Next = "Nothing. The provider has given no refresh token, and has not said that the access token ends."
		if !g.Expiry.IsZero() {
			s.Next = "The provider has given no refresh token: when the access token ends, the user is needed."
			s.Help = "Nothing now. " + lastingHelp
		}
	case authprofile.StatusFailing:
		if f.Next.After(now) {
			layout := "15:04:05 UTC"
			if f.Next.UTC().Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
				layout = "2 Jan 2006, 15:04:05 UTC"
			}
			s.Word += ", next attempt at " + f.Next.UTC().Format(layout)
		} else {
			s.Word += ", next attempt as soon as a program asks"
		}
		s.Next = "It is tried again, without end, whenever a program asks for a token and the time of the next attempt has come."
		if f.Paced {
			s.Next += " The provider itself has said when that is."
		}
		if g.AccessToken != "" && g.Expiry.After(now) {
			s.Next += " Until then programs get the access token that is there, which ends " + fromNow(g.Expiry, now) + "."
		}
		s.Help = "Nothing, as a rule: this passes. If it lasts for hours, look at the provider's own status page, and at the network of this service."
	case authprofile.StatusNeedsReauthorization:
		s.Next = "Nothing, until the user connects the account again. Then all works as before."
		s.Help = "Ask the user to connect the account again."
		switch f.Reason {
		case authprofile.ReasonExpired:
			s.Help += " " + lastingHelp
		case authprofile.ReasonOtherClient:
			s.Next = "It works again as soon as the profile has the client ID and the addresses that it had before, or the user has connected the account again."
			s.Help = "If the profile was changed by mistake, give it the client ID and the addresses that it had before, and save it. If the change is meant to stay, ask the user to connect the account again."
		case authprofile.ReasonRevoked, authprofile.ReasonInterrupted:
		default:
			s.Next = "It is tried once more when the profile is saved. Otherwise nothing, until the user connects the account again."
		}
	case authprofile.StatusNeedsConfiguration:
		s.Next = "It is tried again as soon as the profile is saved, and now and then while programs ask for a token. No user has to come back."
		s.Help = "Compare the profile with the registration at the provider: client ID, secret or key, scopes and addresses. Correct what differs, and save the profile. Its test says more."
	}
	return s
}

const lastingHelp = "So that a grant lasts, the profile has to ask the provider for a refresh token: with most providers by the scope offline_access."

// reasons say what has happened.
var reasons = map[authprofile.Reason]string{
	authprofile.ReasonRevoked:       "The provider has ended the grant: the user has withdrawn their consent, or a rule of the provider's has ended it.",
	authprofile.ReasonInterrupted:   "A renewal was interrupted before its answer came, and the provider does not take the refresh token any more.",
	authprofile.ReasonExpired:       "The access token has ended, and the provider has given no refresh token.",
	authprofile.ReasonOtherClient:   "The grant belongs to another client, or comes from another issuer, than the profile has now.",
	authprofile.ReasonClient:        "The provider refuses the client, or what it asks for.",
	authprofile.ReasonConfiguration: "The profile does not fit the provider, so that it was not asked.",
	authprofile.ReasonUnreachable:   "The provider cannot be reached.",
	authprofile.ReasonLost:          "The provider was asked, and its answer has not come.",
	authprofile.ReasonUnavailable:   "The provider says that it cannot answer now.",
	authprofile.ReasonUnreadable:    "The answer of the provider makes no sense.",
	authprofile.ReasonRefused:       "The provider has refused, for a reason that is not known.",
	authprofile.ReasonSingled:       "The provider refuses this grant, while it renews others of the profile.",
	authprofile.ReasonIDToken:       "The tokens came with an ID token that is not valid.",
}
