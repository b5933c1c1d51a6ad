package authprofile

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/oauth2"
)

// A Store keeps profiles, grants and flows.
//
// Most programs use one of those that come with this module: [MemStore],
// package sqlstore for SQLite, PostgreSQL and MySQL, and package sealed, which
// encrypts what another Store keeps. Those who write their own find in package
// storetest the tests that hold it to every sentence below.
//
// Concurrency. All methods may be called by many goroutines at once, and by
// many processes where the storage is shared. Each call takes effect whole or
// not at all. A call that has returned is seen by every call that begins
// afterwards, in any process.
//
// Context. A method returns soon after its context ends. Its error then does
// not tell whether the call took effect, or will in a moment, and the same
// holds for every error that is neither [ErrNotFound] nor [ErrConflict]: the
// caller reads again.
//
// Ownership. What is passed in belongs to the caller, who may change it
// afterwards; what is returned belongs to the caller too. A method changes its
// arguments only as its comment says, and not at all if it fails.
//
// Values. Strings are kept and compared byte by byte: "a", "A" and "a " are
// three identifiers, and a [Secret] comes back as it went in. Identifiers and
// users are valid UTF-8 without control characters, of at most 255 and 512
// bytes; a grant's key may have the longest of both. Times are kept to the
// millisecond at least, and come back in UTC; the zero time comes back as the
// zero time. Nil and empty slices and maps are not told apart.
//
// Errors. None is both ErrNotFound and ErrConflict. A record that is there and
// cannot be read, because it is damaged or cannot be decrypted, is an [*Error]:
// a new authorization replaces such a grant. A list returns as many of the
// others as it is asked for, together with an [*Error] for each of those, joined
// by [errors.Join].
//
// The JSON of profiles, grants and flows is not for storing: secrets show
// themselves as "[redacted]", and some fields are left out. To store a [Secret],
// a Store converts it with string(s).
type Store interface {
	ProfileStore
	GrantStore
	FlowStore
}

// A ProfileStore keeps profiles.
type ProfileStore interface {
	// Profile returns the profile with that ID, or an error that is
	// ErrNotFound.
	Profile(ctx context.Context, id string) (*Profile, error)

	// ListProfiles returns at most limit profiles whose ID comes after the
	// given one, ordered by ID, ascending byte by byte. An empty after means
	// from the beginning. Fewer than limit means that there are no more, however
	// large limit is, and whatever others put and delete meanwhile.
	ListProfiles(ctx context.Context, after string, limit int) ([]*Profile, error)

	// PutProfile creates p if p.Version is zero, and otherwise replaces the
	// stored profile of that ID and Version, keeping its time of creation.
	// If there is another, or none to replace, the error is ErrConflict and
	// nothing is changed: a put that races with a deletion does not bring the
	// profile back. Grants stay as they are.
	//
	// It sets p.Version to a number above zero that no record of this ID has
	// had before, even one that was deleted since, and p.Created and
	// p.Updated to what is stored: the times of the put that created the
	// record and of the latest put, whatever the caller has there.
	PutProfile(ctx context.Context, p *Profile) error

	// DeleteProfile removes the profile and all its grants. If there is none,
	// that is no error.
	DeleteProfile(ctx context.Context, id string) error
}

// A GrantStore keeps grants.
type GrantStore interface {
	// Grant returns the grant with that key, or an error that is ErrNotFound.
	Grant(ctx context.Context, key GrantKey) (*Grant, error)

	// ListGrants returns at most limit grants that pass the filter and whose
	// key comes after the given one, ordered by profile and then by user,
	// ascending byte by byte. A zero after means from the beginning, an empty
	// user included. Fewer than limit means that there are no more, as for
	// ListProfiles.
	ListGrants(ctx context.Context, f GrantFilter, after GrantKey, limit int) ([]*Grant, error)

	// CountGrants returns how many grants of the profile have each status, of
	// all profiles if profileID is empty. A status that no grant has may be
	// left out. A grant that cannot be read is counted if its status can.
	CountGrants(ctx context.Context, profileID string) (map[Status]int64, error)

	// DueGrants returns at most limit grants whose Due is known and before the
	// given time, ordered by Due; those with the same Due in any order. Fewer
	// than limit means that there are no more.
	DueGrants(ctx context.Context, before time.Time, limit int) ([]*Grant, error)

	// PutGrant creates or replaces a grant as PutProfile does a profile: by
	// g.Version, with ErrConflict, setting g.Version, g.Created and
	// g.Updated. Whether the profile exists is not its concern.
	PutGrant(ctx context.Context, g *Grant) error

	// DeleteGrant removes the grant. If there is none, that is no error.
	DeleteGrant(ctx context.Context, key GrantKey) error
}

// A FlowStore keeps flows for the minutes between [Manager.Begin] and
// [Manager.Finish].
type FlowStore interface {
	// PutFlow keeps all fields of f but State and URL, until f.Expires. A
	// Store may forget it any time after that, and earlier only to bound how
	// many it keeps, the oldest first, if it says in its documentation how
	// many those are.
	PutFlow(ctx context.Context, f *Flow) error

	// TakeFlow removes the flow with that ID and returns it. Of many callers
	// at most one gets it; for the others, and once the flow has expired, the
	// error is ErrNotFound.
	TakeFlow(ctx context.Context, id string) (*Flow, error)
}

// A GrantKey names a grant: one profile, and the user on whose behalf. User is
// empty for profiles of TypeApp. In the grant with no user of a profile of
// TypeUser a Manager keeps what Notify was told of the profile; it has no status
// and no tokens, and no method of a Manager returns it.
type GrantKey struct {
	ProfileID string `json:"profile_id"`
	User      string `json:"user,omitempty"`
}

// A GrantFilter says which grants are meant: those that have all that it says.
// The zero GrantFilter passes all.
type GrantFilter struct {
	ProfileID  string    // empty: any
	User       string    // empty: any
	Status     Status    // empty: any
	EndsBefore time.Time // grants whose Ends is known, and before; zero: any
}

// A Grant is what a provider has issued for one profile (and one user): the
// tokens, what they are good for, and their state.
type Grant struct {
	GrantKey

	AccessToken  Secret    `json:"access_token,omitempty"`
	RefreshToken Secret    `json:"refresh_token,omitempty"`
	TokenType    string    `json:"token_type,omitempty"` // "Bearer"
	Obtained     time.Time `json:"obtained,omitzero"`    // when the request began that brought the access token
	Expiry       time.Time `json:"expiry,omitzero"`      // of the access token; zero: not known

	// RefreshExpiry is when the refresh token ends, for providers that say
	// so; otherwise zero. It is a hint for people.
	RefreshExpiry time.Time `json:"refresh_expiry,omitzero"`

	Scopes    []string `json:"scopes,omitempty"`    // granted; may be fewer than requested
	Requested []string `json:"requested,omitempty"` // the scopes that were asked for

	ClientID string `json:"client_id,omitempty"` // the client that the tokens were issued to

	// Issuer is who has issued the tokens, and to whom alone they are shown:
	// "iss" of a verified ID token; without one, the issuer of the discovery
	// document; if the profile has addresses in place of a document, the origin
	// of the token endpoint, "https://auth.example.com". Empty: not known, and
	// set by the next renewal.
	Issuer string `json:"issuer,omitempty"`

	Subject string `json:"subject,omitempty"` // "sub" of a verified ID token

	// Account says to people whose account it is at the provider: of a verified
	// ID token "email", else "preferred_username", else "name"; without them,
	// what the provider's API says, if it has a template; cleaned and cut to 256
	// bytes. It decides nothing, as an account may change all of them.
	Account string `json:"account,omitempty"`

	Nonce string `json:"-"` // of the authorization that it comes from; kept by renewals

	// Extra holds what else the provider's answers had to say, by member name:
	// "instance_url", "team". Strings are as they came, all else is JSON.
	// Members that would make it larger than 4 KiB are left out.
	Extra map[string]Secret `json:"extra,omitempty"`

	Authorized time.Time `json:"authorized,omitzero"` // when the person consented, last; zero: not known

	// Ends is when the grant will end unless it is used or authorized again, as
	// far as is known; zero: not known. It is for people: a token that lives on
	// past it is used.
	Ends   time.Time `json:"ends,omitzero"`
	EndsBy string    `json:"ends_by,omitempty"` // how that is known: EndsAnnounced, EndsIdle or EndsAbsolute

	// What Maintain goes by; see Manager.Maintain. Due is when it has to look at
	// the grant next, zero if there is nothing to look for. Told is the Status
	// that Notify was last told of, empty for one that needs no person, and
	// ToldAt when that was. Warned is since when Ends has been known, or when
	// Notify was last warned of it.
	Due    time.Time `json:"due,omitzero"`
	Told   Status    `json:"told,omitempty"`
	ToldAt time.Time `json:"told_at,omitzero"`
	Warned time.Time `json:"warned,omitzero"`

	Status  Status   `json:"status"`
	Failure *Failure `json:"failure,omitempty"` // why, since when, how often, when next; nil while active
	Lease   *Lease   `json:"lease,omitempty"`   // which process is renewing; nil: none

	Version int64     `json:"version"` // set by the Store; zero: never stored
	Created time.Time `json:"created,omitzero"`
	Updated time.Time `json:"updated,omitzero"`
}

// How the end of a grant is known: see Grant.EndsBy.
const (
	EndsAnnounced = "announced" // the provider has said so, by the lifetime of the refresh token
	EndsIdle      = "idle"      // the template's provider ends grants that are not used for so long
	EndsAbsolute  = "absolute"  // the template's provider ends grants so long after the consent
)

// A Status is the state of a grant.
type Status string

const (
	StatusActive               Status = "active"
	StatusFailing              Status = "failing"               // renewal fails for now, and is tried again
	StatusNeedsReauthorization Status = "needs_reauthorization" // only the user can help
	StatusNeedsConfiguration   Status = "needs_configuration"   // an operator can help
)

// A Failure says why a grant could not be renewed.
//
// A provider that says "not now" is asked again without end, whenever a token
// is asked for, at intervals that grow from one second to about six minutes: no
// outage is a reason to bother the user. Some providers answer "not now" for
// grants that no longer exist: alert an operator by Since. A new authorization
// puts an end to it.
//
// A refusal may be the fault of the grant, of the profile, or of a gateway in
// between: one with an unknown error code or none, a page that is not OAuth,
// "invalid_client" and its like. Other grants show whose fault it is. While
// other grants of the same version of the profile are renewed, it is this grant:
// its user is needed after at least six tries and ten minutes, and of those
// tries only the ones between which another grant was renewed are counted
// ([ReasonSingled]). If the refusal has no OAuth error code, only renewals by
// the same process count, since a firewall may have blocked that process. While
// no other grant is renewed, it is the profile or the provider: after as many
// tries an operator is needed, it is tried on at intervals of up to twelve
// minutes, and no user is ever asked for. The only grant of a profile
// cannot be compared with others: its user is asked for after a week.
//
// A profile that is saved anew is a reason to try again, but for the reasons
// [ReasonRevoked], [ReasonInterrupted] and [ReasonExpired], which only a new
// authorization ends.
type Failure struct {
	Reason      Reason    `json:"reason"`
	Code        string    `json:"code,omitempty"`        // the provider's OAuth error code
	Description string    `json:"description,omitempty"` // the provider's words, cleaned and cut
	HTTPStatus  int       `json:"http_status,omitempty"` // zero: no answer
	Since       time.Time `json:"since"`                 // of the first failure in a row; of refusals, of the first of them
	Last        time.Time `json:"last"`                  // of the latest attempt
	Attempts    int       `json:"attempts"`              // in a row; with ReasonSingled, those that count
	Next        time.Time `json:"next,omitzero"`         // of the next attempt, at the earliest; zero: none without a person's help

	// Paced means that Next is the provider's own word (Retry-After).
	// Otherwise callers that have no valid token may bring the next attempt
	// forward, to a second after the last.
	Paced bool `json:"paced,omitempty"`

	// ProfileVersion is the profile's version when it failed: after a change
	// of the profile it is tried again without waiting for Next, unless that is
	// the word of a provider that is not available.
	ProfileVersion int64 `json:"profile_version,omitempty"`
}

// A Reason is the kind of a failure, in one word out of a fixed list.
type Reason string

const (
	ReasonRevoked       Reason = "revoked"          // invalid_grant: the provider has ended the grant
	ReasonInterrupted   Reason = "interrupted"      // invalid_grant, after a renewal whose answer was lost
	ReasonExpired       Reason = "expired"          // the access token has expired, and there is no refresh token
	ReasonOtherClient   Reason = "other_client"     // the grant was issued to another client, or by another issuer, than the profile has now
	ReasonClient        Reason = "client"           // the provider refuses the client or its request
	ReasonConfiguration Reason = "configuration"    // the profile does not fit the provider; it was not asked
	ReasonUnreachable   Reason = "unreachable"      // no connection, or TLS failed
	ReasonLost          Reason = "lost"             // asked, but no answer came, and none has come since: the refresh token may be spent
	ReasonUnavailable   Reason = "unavailable"      // the provider says: not now
	ReasonUnreadable    Reason = "unreadable"       // an answer that makes no sense
	ReasonRefused       Reason = "refused"          // refused without a reason that we know
	ReasonSingled       Reason = "singled"          // refused, while other grants of the profile are renewed
	ReasonIDToken       Reason = "invalid_id_token" // the tokens came with an ID token that is not valid
)

// A Lease is the right of one process to renew a grant, for a short time.
//
// It runs out by the clock of the process that looks at it: one that has seen
// the same Attempt at the same version of the grant for the whole Length may
// take it over.
type Lease struct {
	Owner   string        `json:"owner"`   // the process, or rather its Manager
	Attempt string        `json:"attempt"` // different for every renewal
	Length  time.Duration `json:"length"`  // in nanoseconds
}

// Token returns the access token as x/oauth2 knows it. What the provider said
// beyond the standard is reachable by its Extra method. It has no refresh
// token: using that is the Manager's business alone.
func (g *Grant) Token() *oauth2.Token {
	t := &oauth2.Token{AccessToken: string(g.AccessToken), TokenType: g.TokenType, Expiry: g.Expiry}
	if len(g.Extra) == 0 {
		return t
	}
	extra := make(map[string]any, len(g.Extra))
	for k, v := range g.Extra {
		extra[k] = string(v)
	}
	return t.WithExtra(extra)
}

// isRecord reports whether g is no grant, but what was told of a profile: see
// GrantKey.
func (g *Grant) isRecord() bool { return g.Status == "" }

// Clone returns a deep copy.
func (g *Grant) Clone() *Grant {
	c := *g
	c.Scopes = slices.Clone(g.Scopes)
	c.Requested = slices.Clone(g.Requested)
	c.Extra = maps.Clone(g.Extra)
	if g.Failure != nil {
		f := *g.Failure
		c.Failure = &f
	}
	if g.Lease != nil {
		l := *g.Lease
		c.Lease = &l
	}
	return &c
}

// Format writes g with its secrets redacted, whatever the verb.
func (g Grant) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, "Grant{ProfileID:%q User:%q AccessToken:%v RefreshToken:%v TokenType:%q Expiry:%v Scopes:%q Subject:%q Status:%q Version:%d",
		g.ProfileID, g.User, g.AccessToken, g.RefreshToken, g.TokenType, g.Expiry, g.Scopes, g.Subject, g.Status, g.Version)
	if g.Failure != nil {
		fmt.Fprintf(f, " Failure:%+v", *g.Failure)
	}
	if g.Lease != nil {
		fmt.Fprintf(f, " Lease:%+v", *g.Lease)
	}
	io.WriteString(f, "}")
}

// A Flow is an authorization in progress: a browser has been sent to the
// provider, and is expected back.
type Flow struct {
	GrantKey

	State string `json:"-"` // set by Begin, never stored
	URL   string `json:"-"` // set by Begin, never stored: send the browser there

	ID       string    `json:"id"` // hash of State: all that a Store sees of it
	Verifier Secret    `json:"-"`  // PKCE code verifier (RFC 7636)
	Nonce    string    `json:"-"`  // for the ID token; empty if none is asked for
	Expires  time.Time `json:"expires"`

	// What else Finish needs to finish exactly what Begin began.

	RedirectURL    string   `json:"redirect_url"`
	Requested      []string `json:"requested,omitempty"` // scopes
	Issuer         string   `json:"issuer,omitempty"`    // who must answer; empty: not known
	IssuerRequired bool     `json:"issuer_required"`     // the answer must name its issuer (RFC 9207)
	ProfileVersion int64    `json:"profile_version"`

	// For RedirectHandler.

	Browser  string `json:"-"`                   // hash of the cookie of the browser that began; empty: any
	ReturnTo string `json:"return_to,omitempty"` // path of the page to go back to
}

// Clone returns a deep copy.
func (fl *Flow) Clone() *Flow {
	c := *fl
	c.Requested = slices.Clone(fl.Requested)
	return &c
}

// Format writes the flow without State, URL, Verifier and Nonce, whatever the
// verb.
func (fl Flow) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, "Flow{ProfileID:%q User:%q ID:%q Expires:%v RedirectURL:%q}",
		fl.ProfileID, fl.User, fl.ID, fl.Expires, fl.RedirectURL)
}
