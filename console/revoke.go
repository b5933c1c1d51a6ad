package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// revokeTime is what the revocation of a grant may take. Those of some providers take
// a renewal before.
const revokeTime = 70 * time.Second

// A told says whether a provider is told when a grant is revoked.
type told int

const (
	toldUnknown told = iota
	toldYes
	toldNo
)

// A revokePage asks whether a grant is to be revoked.
type revokePage struct {
	Keys    []chosenGrant
	Action  string // where the form leads
	Several bool
	Back    string // the address of the page before
	What    []string
}

// A chosenGrant is one that is to be revoked.
type chosenGrant struct {
	authprofile.GrantKey
	Account string
}

// Value is what the form says of the grant.
func (g chosenGrant) Value() string { return keyValue(g.GrantKey) }

func (h *Handler) askRevoke(c *call) {
	if c.readOnly {
		c.problem(http.StatusForbidden, "Nothing can be changed here", "This console is read-only.")
		return
	}
	key, ok := c.readKey(c.query)
	if !ok {
		return
	}
	ctx := c.r.Context()
	g, err := h.Manager.Grant(ctx, key)
	_, damaged := damagedRecord(err)
	if err != nil && !damaged {
		h.noGrant(c, key, err)
		return
	}
	page := revokePage{
		Keys: []chosenGrant{{GrantKey: key}}, Action: "revoke",
		Back: address("grant", "profile", key.ProfileID, "user", key.User),
	}
	if damaged {
		page.What = []string{"The record of this grant cannot be read, so the provider cannot be told. The grant is deleted here only, and may remain valid at the provider."}
	} else {
		page.Keys[0].Account = g.Account
		page.What = []string{"The grant is deleted here.", willBeTold[h.isTold(ctx, key.ProfileID)]}
	}
	if key.User == "" {
		page.What = append(page.What, "This is the application's own grant: the next program that asks for a token gets a new one. To stop that, delete the profile.")
	} else {
		page.What = append(page.What, "Programs get no more tokens for this user until the user connects the account again.")
	}
	page.What = append(page.What, "Other processes may use the current access token until it ends, or for about an hour if its end is not known.")
	c.show(http.StatusOK, "revoke", c.view("Revoke the grant of "+nameOf(key)+"?", page))
}

var willBeTold = map[told]string{
	toldYes:     "The provider is told to end its tokens.",
	toldNo:      "The provider has no revocation address, so it is not told. There, the grant remains valid until it ends by itself or the user withdraws it in the account's settings.",
	toldUnknown: "The provider is told if it has a revocation address. Whether it has one is not known right now.",
}

func (h *Handler) revoke(c *call) {
	key, ok := c.readKey(c.form)
	if !ok {
		return
	}
	ctx, cancel := c.within(revokeTime)
	defer cancel()
	o := h.revokeGrant(ctx, key)
	c.audit(c.action, key, o.err)
	title := "The grant was revoked"
	switch {
	case !o.Done && o.Gone:
		title = "The provider did not confirm"
	case !o.Done:
		title = "The grant was not revoked"
	}
	c.show(http.StatusOK, "results", c.view(title, resultsPage{Results: []result{{key, o}}, Back: "grants"}))
}

// revokeGrant ends a grant, and says what the provider has said to that.
func (h *Handler) revokeGrant(ctx context.Context, key authprofile.GrantKey) outcome {
	g, err := h.Manager.Grant(ctx, key)
	_, damaged := damagedRecord(err)
	switch {
	case errors.Is(err, authprofile.ErrNotFound):
		return outcome{Done: true, Gone: true, Text: "It was already gone."}
	case err != nil && !damaged:
		return outcome{Text: "It was not revoked, because it cannot be read now. Try again in a moment.", err: err}
	}
	isTold := toldNo
	if !damaged {
		isTold = h.isTold(ctx, key.ProfileID)
	}
	err = h.Manager.Revoke(ctx, key)
	switch {
	case err != nil:
		return h.notRevoked(ctx, key, err, damaged)
	case g.AccessToken == "" && g.RefreshToken == "":
		return outcome{Done: true, Gone: true, Text: "It was deleted here. It had no token to revoke at the provider."}
	}
	return outcome{Done: true, Gone: true, Text: wasTold[isTold]}
}

var wasTold = map[told]string{
	toldYes:     "It was deleted here, and the provider confirmed the revocation.",
	toldNo:      "It was deleted here only: the provider has no revocation address.",
	toldUnknown: "It was deleted here. The provider was told if it has a revocation address, but whether it has one is not known.",
}

// notRevoked says what has become of a grant whose revocation has failed.
func (h *Handler) notRevoked(ctx context.Context, key authprofile.GrantKey, err error, damaged bool) outcome {
	_, left := h.Manager.Grant(context.WithoutCancel(ctx), key)
	_, stillDamaged := damagedRecord(left)
	switch {
	case errors.Is(left, authprofile.ErrNotFound) && damaged:
		return outcome{Done: true, Gone: true, Text: "It was deleted here only: its record could not be read."}
	case errors.Is(left, authprofile.ErrNotFound) && errors.Is(err, authprofile.ErrNotFound):
		return outcome{Done: true, Gone: true, Text: "It was deleted here only: its profile is gone, so the provider could not be told."}
	case errors.Is(left, authprofile.ErrNotFound):
		return outcome{Gone: true, Text: "It was deleted here, but the provider did not confirm the revocation, so its tokens may remain valid there. The reason: " + err.Error(), err: err}
	case left == nil || stillDamaged:
		return outcome{Text: "It was not revoked and is still here. Try again in a moment.", err: err}
	}
	return outcome{Text: "It is not known whether it was revoked. Check again in a moment.", err: err}
}

// isTold reports whether the provider of a profile has an address for revocations.
func (h *Handler) isTold(ctx context.Context, id string) told {
	p, err := h.Manager.Profile(ctx, id)
	if errors.Is(err, authprofile.ErrNotFound) {
		return toldNo
	}
	if err != nil {
		return toldUnknown
	}
	document := p.Endpoints.DiscoveryURL
	if p.Template != "" {
		row := h.row(p.Template)
		switch {
		case row == nil:
			return toldUnknown
		case row.Revocation != nil && row.Revocation.URL != "":
			return toldYes
		}
		var ok bool
		if document, ok = documentOf(row, p.Template); !ok {
			return toldUnknown
		}
	}
	if p.Endpoints.RevocationURL != "" {
		return toldYes
	}
	if document == "" {
		return toldNo
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	switch md, err := h.Manager.Discover(ctx, document); {
	case err != nil:
		return toldUnknown
	case md.RevocationURL == "":
		return toldNo
	}
	return toldYes
}

// row returns the provider that a template names, or nil.
func (h *Handler) row(t authprofile.Template) *authprofile.Provider {
	name, _, _ := strings.Cut(string(t), "/")
	list := h.providers()
	i := slices.IndexFunc(list, func(p authprofile.Provider) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// documentOf returns the address of the discovery document that a template of the row
// leads to: empty if the row has none, and not ok if the template does not fit it.
func documentOf(row *authprofile.Provider, t authprofile.Template) (address string, ok bool) {
	values := strings.Split(string(t), "/")[1:]
	extra := len(values) // those for variables that can be left out
	for _, v := range row.Variables {
		if !v.Optional && v.Default == "" {
			extra--
		}
	}
	if extra < 0 || len(values) > len(row.Variables) {
		return "", false
	}
	address = row.DiscoveryURL
	for _, v := range row.Variables {
		text, mayLack := v.Default, v.Optional || v.Default != ""
		if !mayLack || extra > 0 {
			text, values = values[0], values[1:]
			if mayLack {
				extra--
			}
		}
		if v.Values != nil {
			text = v.Values[text]
		}
		if text != "" {
			text = v.Prefix + text + v.Suffix
		}
		address = strings.ReplaceAll(address, "{"+v.Name+"}", text)
	}
	return address, true
}
