package cli

import (
	"fmt"
	"time"

	"github.com/authprofile/authprofile"
)

// statuses are the states of grants, those first that need a person.
var statuses = []authprofile.Status{
	authprofile.StatusNeedsConfiguration, authprofile.StatusNeedsReauthorization,
	authprofile.StatusFailing, authprofile.StatusActive,
}

// statusWords say what a status means.
var statusWords = map[authprofile.Status]string{
	authprofile.StatusActive:               "active",
	authprofile.StatusFailing:              "failing for now, and tried again by itself",
	authprofile.StatusNeedsReauthorization: "needs its user, who has to connect again",
	authprofile.StatusNeedsConfiguration:   "needs an administrator, who has to correct the profile or its registration",
}

func statusColour(s authprofile.Status) colour {
	switch s {
	case authprofile.StatusActive:
		return green
	case authprofile.StatusFailing:
		return yellow
	}
	return red
}

// reasonWords say why a grant cannot be renewed.
var reasonWords = map[authprofile.Reason]string{
	authprofile.ReasonRevoked:       "the provider has ended the grant",
	authprofile.ReasonInterrupted:   "a renewal was interrupted, and the provider does not take the refresh token any more",
	authprofile.ReasonExpired:       "the access token has ended, and there is no refresh token",
	authprofile.ReasonOtherClient:   "the grant was issued to another client, or by another issuer, than the profile has now",
	authprofile.ReasonClient:        "the provider refuses the client or its request",
	authprofile.ReasonConfiguration: "the profile does not fit the provider",
	authprofile.ReasonUnreachable:   "the provider cannot be reached",
	authprofile.ReasonLost:          "the provider was asked, and no answer came",
	authprofile.ReasonUnavailable:   "the provider says: not now",
	authprofile.ReasonUnreadable:    "the provider's answer makes no sense",
	authprofile.ReasonRefused:       "the provider refuses, for a reason that is not known",
	authprofile.ReasonSingled:       "the provider refuses this grant, while it renews others of the profile",
	authprofile.ReasonIDToken:       "the tokens came with an ID token that is not valid",
}

// reasonOf says why a grant cannot be renewed, with the provider's own words.
func reasonOf(f *authprofile.Failure) string {
	if f == nil {
		return ""
	}
	text := reasonWords[f.Reason]
	if text == "" {
		text = string(f.Reason)
	}
	switch {
	case f.Code != "" && f.Description != "":
		text += fmt.Sprintf(" (%s: %s)", f.Code, f.Description)
	case f.Code != "":
		text += " (" + f.Code + ")"
	case f.HTTPStatus != 0:
		text += fmt.Sprintf(" (HTTP status %d)", f.HTTPStatus)
	}
	return text
}

// whatToDo says which command helps a grant that needs a person; empty: none is needed.
func whatToDo(g *authprofile.Grant) string {
	switch g.Status {
	case authprofile.StatusNeedsReauthorization:
		return connectCommand(g.ProfileID, g.User)
	case authprofile.StatusNeedsConfiguration:
		return shell("authprofile", "test", g.ProfileID)
	}
	return ""
}

// endsWords say how the end of a grant is known.
var endsWords = map[string]string{
	authprofile.EndsAnnounced: "as the provider has said",
	authprofile.EndsIdle:      "unless it is used before",
	authprofile.EndsAbsolute:  "as that provider ends all grants",
}

// A days is a time span in a flag: 30d, or as Go writes it.
type days time.Duration

func (d *days) Set(text string) error {
	var n int
	if _, err := fmt.Sscanf(text+"\n", "%dd\n", &n); err == nil && n >= 0 && n <= 100*365 {
		*d = days(n) * days(24*time.Hour)
		return nil
	}
	span, err := time.ParseDuration(text)
	if err != nil || span < 0 {
		return fmt.Errorf("it is a time such as 30d or 12h")
	}
	*d = days(span)
	return nil
}

func (d *days) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *days) Type() string { return "time" }
