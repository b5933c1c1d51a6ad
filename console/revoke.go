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
		c.problem(http.StatusForbidden, "Nothing can be changed here", "This console is set up to show things only.")
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
		page.What = []string{"The record of this grant cannot be read, so that the provider is not told. It is only deleted here, and may live on at the provider."}
	} else {
		page.Keys[0].Account = g.Account
		page.What = []string{"The grant is deleted here.", willBeTold[h.isTold(ctx, key.ProfileID)]}
	}
	if key.User == "" {
		page.What = append(page.What, "It is the application's own: when a program asks for a token again, the profile gets a new one. To stop that, delete the profile.")
	} else {
		page.What = append(page.What, "Programs get no token for this user any more, until the user connects the account again.")
	}
	page.What = append(page.What, "Other processes may use the access token until it ends, or for about an hour if its end is not known.")
	c.show(http.StatusOK, "revoke", c.view("Revoke the grant of "+nameOf(key)+"?", page))
}

var willBeTold = map[told]string{
	toldYes:     "The provider is told, so that it ends its tokens.",
	toldNo:      "The provider has no address for revocations, so that it is not told. There the grant lives on until it ends by itself, or until the user withdraws it in the settings of the account.",
	toldUnknown: "The provider is told if it has an address for revocations. Whether it has one is not known now.",
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
	title := "The grant is revoked"
	switch {
	case !o.Done && o.Gone:
		title = "The provider has not agreed"
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
		return outcome{Done: true, Gone: true, Text: "It was gone already."}
	case err != nil && !damaged:
		return outcome{Text: "It was not revoked: it cannot be read now. Try again in a moment.", err: err}
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
		return outcome{Done: true, Gone: true, Text: "It is deleted here. It had no token that the provider could have been told of."}
	}
	return outcome{Done: true, Gone: true, Text: wasTold[isTold]}
}

var wasTold = map[told]string{
	toldYes:     "The provider was told, and has agreed.",
	toldNo:      "The provider has no address for revocations, so that it was only forgotten here.",
	toldUnknown: "It is forgotten here. The provider was told if it has an address for revocations, but whether it has one is not known.",
}

// notRevoked says what has become of a grant whose revocation has failed.
func (h *Handler) notRevoked(ctx context.Context, key authprofile.GrantKey, err error, damaged bool) outcome {
	_, left := h.Manager.Grant(context.WithoutCancel(ctx), key)
	_, stillDamaged := damagedRecord(left)
	switch {
	case errors.Is(left, authprofile.ErrNotFound) && damaged:
		return outcome{Done: true, Gone: true, Text: "Its record could not be read, so that it was only forgotten here."}
	case errors.Is(left, authprofile.ErrNotFound) && errors.Is(err, authprofile.ErrNotFound):
		return outcome{Done: true, Gone: true, Text: "It was only forgotten here: its profile is deleted, so that the provider could not be told."}
	case errors.Is(left, authprofile.ErrNotFound):
		return outcome{Gone: true, Text: "It is forgotten here, but the provider has not agreed, and its tokens may live on there. The reason: " + err.Error(), err: err}
	case left == nil || stillDamaged:
		return outcome{Text: "It was not revoked, and is still here. Try again in a moment.", err: err}
	}
	return outcome{Text: "It is not known whether it was revoked. Look at it again in a moment.", err: err}
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
