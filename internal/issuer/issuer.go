// Package issuer says when two names of a provider mean the same one.
//
// A provider is named by its document, by its ID tokens, by a user's return
// from it, and by the grants that were stored. The names differ in spelling, in
// the tenant, and in what was known at the time; what may differ, and where, is
// decided here. The package works on strings.
package issuer

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/authprofile/authprofile/internal/address"
)

// EachTenant in a document's issuer says that ID tokens have the ID of the
// user's own tenant there, which their "tid" repeats.
const EachTenant = "{tenantid}"

// The paths under which standards keep documents. The first is appended to the
// issuer (OpenID Connect Discovery 1.0, section 4), or inserted between its
// host and its path (RFC 8414, section 5); the second is inserted (RFC 8414,
// section 3.1).
const (
	WellKnownOpenID = "/.well-known/openid-configuration"
	WellKnownOAuth  = "/.well-known/oauth-authorization-server"
)

// FitsDocument reports whether the document at an address may name that issuer.
// Both have passed [address.Check].
func FitsDocument(documentURL, name string) bool {
	u, err := url.Parse(documentURL)
	if err != nil {
		return false
	}
	host, path := documentURL, ""
	if i := strings.IndexByte(documentURL[len(u.Scheme+"://"):], '/'); i >= 0 {
		i += len(u.Scheme + "://")
		host, path = documentURL[:i], documentURL[i:]
	}

	derived := false
	is := func(s string) bool {
		derived = true
		return strings.TrimSuffix(name, "/") == strings.TrimSuffix(s, "/")
	}
	if before, ok := strings.CutSuffix(path, WellKnownOpenID); ok && is(host+before) {
		return true
	}
	for _, wellKnown := range []string{WellKnownOAuth, WellKnownOpenID} {
		after, ok := strings.CutPrefix(path, wellKnown)
		if ok && (after == "" || after[0] == '/') && !strings.Contains(after, "?") && is(host+after) {
			return true
		}
	}
	if derived {
		return false
	}
	return address.OriginOf(documentURL) == address.OriginOf(name)
}

// Matches compares a name with the one that a document gave, which may stand
// for each tenant's own.
func Matches(expected, name string) bool {
	before, after, ok := strings.Cut(expected, EachTenant)
	if !ok {
		return name == expected
	}
	id, fits := strings.CutPrefix(name, before)
	id, fits2 := strings.CutSuffix(id, after)
	return fits && fits2 && IsGUID(id)
}

// IsGUID reports whether s is a tenant's ID, in its usual spelling.
func IsGUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// An Issuer is a provider as it can be named.
type Issuer struct {
	// Name is what the document gives, and may stand for each tenant's own.
	// Empty: the addresses were typed in, and no name is known.
	Name string

	// Aliases are what ID tokens may have in place of Name.
	Aliases []string

	// Origin is that of the token endpoint, without a default port. It stands
	// for the provider where no name is known.
	Origin string

	// FormerOrigins are what Origin was before the provider moved.
	FormerOrigins []string
}

// isOrigin reports whether a grant with this recorded issuer knows only where the
// provider's tokens come from, or where they came from before it moved.
func (i Issuer) isOrigin(recorded string) bool {
	return recorded == i.Origin || slices.Contains(i.FormerOrigins, recorded) ||
		i.Name == "" && slices.Contains(i.FormerOrigins, address.ShortOriginOf(recorded))
}

// Signed reports whether an ID token that names this issuer and this tenant is
// the provider's. The tenant is empty if the token does not name one.
func (i Issuer) Signed(name, tenant string) bool {
	switch {
	case i.Name == "":
		return true
	case slices.Contains(i.Aliases, name):
		return true
	case i.isPattern():
		return IsGUID(tenant) && name == strings.ReplaceAll(i.Name, EachTenant, tenant)
	}
	return name == i.Name
}

func (i Issuer) isPattern() bool { return strings.Contains(i.Name, EachTenant) }

// Canonical returns the name that an ID token gave in the provider's own
// spelling, as far as there is one spelling for all.
func (i Issuer) Canonical(name string) string {
	if i.Name != "" && !i.isPattern() {
		return i.Name
	}
	return name
}

// Default is what a grant remembers as its issuer where no ID token says it:
// the name, or where no document gives one that fits all the origin.
func (i Issuer) Default() string {
	if i.Name == "" || i.isPattern() {
		return i.Origin
	}
	return i.Name
}

// Recorded is what a new grant remembers as its issuer: what the ID token
// claims if the document does too, or if that is at the origin, by which
// typed-in addresses are known again. Claimed is empty if there was no ID token.
func (i Issuer) Recorded(claimed string) string {
	if claimed != "" && claimed != i.Origin && (i.Name != "" || address.ShortOriginOf(claimed) == i.Origin) {
		return claimed
	}
	return i.Default()
}

// Claimed is the issuer that a later ID token must name, of a grant with this
// recorded one, or nothing if the grant does not know it: it may have the
// origin from when the addresses were typed in. Then the document says it, if
// there is one.
func (i Issuer) Claimed(recorded string) string {
	if i.isOrigin(recorded) {
		return ""
	}
	return recorded
}

// Issued reports whether a grant with this recorded issuer may be one of this
// provider: it is, or it is not known whose. Renewed says that the grant was
// renewed by the same profile that names the provider now.
func (i Issuer) Issued(recorded string, renewed bool) bool {
	switch {
	case recorded == "", i.isOrigin(recorded):
		return true
	case i.Name == "":
		// A grant may say the issuer that an ID token named, at another origin
		// than the token endpoint: that it is the same provider is known if it
		// was renewed by this same profile.
		return address.ShortOriginOf(recorded) == i.Origin || renewed
	}
	return Matches(strings.TrimSuffix(i.Name, "/"), strings.TrimSuffix(recorded, "/")) ||
		slices.Contains(i.Aliases, recorded)
}

// Same reports whether a new grant, recorded with the issuer after, has the
// issuer of the one that it takes the place of: the same, or that one has the
// origin, from a time when no document said more.
func (i Issuer) Same(before, after string) bool {
	return before == after || i.isOrigin(before)
}

// An Account is a user as the provider names them, in an ID token.
type Account struct{ Issuer, Subject string }

// IsAnotherAccount reports whether after is another account at this provider
// than before. An issuer that does not match is the provider that the profile
// had before: who a person was there says nothing here.
func (i Issuer) IsAnotherAccount(before, after Account) bool {
	switch {
	case before.Subject == "" || after.Subject == "":
		return false
	case i.isOrigin(before.Issuer): // from when the addresses were typed in, or from before it moved
		return before.Subject != after.Subject
	}
	return Matches(cmp.Or(i.Name, after.Issuer), before.Issuer) && before != after
}
