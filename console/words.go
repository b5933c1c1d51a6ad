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
		s.Next = "The token is renewed when a program asks for it shortly before it ends."
		s.Help = "Nothing needs to be done."
		if g.User == "" || g.RefreshToken != "" {
			break
		}
		s.Next = "Nothing. The provider gave no refresh token and did not say when the access token ends."
		if !g.Expiry.IsZero() {
			s.Next = "The provider gave no refresh token. When the access token ends, the user must connect the account again."
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
		s.Next = "The renewal is tried again, for as long as it takes, whenever a program asks for a token and the next attempt is due."
		if f.Paced {
			s.Next += " The provider set that time."
		}
		if g.AccessToken != "" && g.Expiry.After(now) {
			s.Next += " Until then, programs get the current access token, which ends " + fromNow(g.Expiry, now) + "."
		}
		s.Help = "Usually nothing: this passes by itself. If it lasts for hours, check the provider's status page and this service's network."
	case authprofile.StatusNeedsReauthorization:
		s.Next = "Nothing until the user connects the account again. Then everything works as before."
		s.Help = "Ask the user to connect the account again."
		switch f.Reason {
		case authprofile.ReasonExpired:
			s.Help += " " + lastingHelp
		case authprofile.ReasonOtherClient:
			s.Next = "It works again once the profile has its earlier client ID and addresses back, or once the user has connected the account again."
			s.Help = "If the profile was changed by mistake, restore its earlier client ID and addresses and save it. If the change is meant to stay, ask the user to connect the account again."
		case authprofile.ReasonRevoked, authprofile.ReasonInterrupted:
		default:
			s.Next = "It is tried once more when the profile is saved. Otherwise, nothing happens until the user connects the account again."
		}
	case authprofile.StatusNeedsConfiguration:
		s.Next = "It is tried again as soon as the profile is saved, and from time to time while programs ask for a token. Users do not need to connect again."
		s.Help = "Compare the profile with the registration at the provider: client ID, secret or key, scopes and addresses. Correct what differs and save the profile. Its Test shows which step fails."
	}
	return s
}

const lastingHelp = "For a grant that lasts, the profile must ask for a refresh token. Most providers give one for the scope offline_access."

// reasons say what has happened.
var reasons = map[authprofile.Reason]string{
	authprofile.ReasonRevoked:       "The provider ended the grant: the user withdrew consent, or one of the provider's rules ended it.",
	authprofile.ReasonInterrupted:   "A renewal was interrupted before the answer arrived, and the provider no longer accepts the refresh token.",
	authprofile.ReasonExpired:       "The access token has ended, and the provider gave no refresh token.",
	authprofile.ReasonOtherClient:   "The grant was issued to another client, or by another issuer, than the profile has now.",
	authprofile.ReasonClient:        "The provider refuses the client or what it asks for.",
	authprofile.ReasonConfiguration: "The profile does not fit the provider, so no request was sent.",
	authprofile.ReasonUnreachable:   "The provider cannot be reached.",
	authprofile.ReasonLost:          "The provider was asked, but no answer arrived.",
	authprofile.ReasonUnavailable:   "The provider says that it is unavailable.",
	authprofile.ReasonUnreadable:    "The provider's answer could not be understood.",
	authprofile.ReasonRefused:       "The provider refused and gave no reason that is known here.",
	authprofile.ReasonSingled:       "The provider refuses this grant but renews others of the same profile.",
	authprofile.ReasonIDToken:       "The tokens came with an invalid ID token.",
}
