package providertest

import "time"

// A Policy is how a Server treats its clients. The zero Policy is strict.
type Policy struct {
	Rotation Rotation      // zero: RotateStrict
	Grace    time.Duration // for RotateGrace, RotateReplay and RotateRefuse, from the first use of a refresh token

	TokenLifetime   time.Duration // of access and ID tokens; zero: one hour
	CodeLifetime    time.Duration // zero: one minute
	RefreshLifetime time.Duration // of each refresh token; zero: no end
	GrantLifetime   time.Duration // of all refresh tokens of a grant; zero: no end

	// Offline says when a refresh token is issued for a code. Zero:
	// OfflineScope.
	Offline Offline

	// RequirePKCE refuses authorization requests without a code challenge.
	// Those of public clients are always refused.
	RequirePKCE bool

	// RequirePAR refuses authorization requests that were not pushed (RFC
	// 9126). The document then says require_pushed_authorization_requests.
	RequirePAR bool

	// Resource says what becomes of the parameter resource (RFC 8707) of token
	// requests. If empty, it is ignored. With "required", every token request
	// must have it; with "exchange", all may have it but those with a refresh
	// token. What is wrong with it is invalid_target, and spends nothing. The
	// API says which "resource" a token is for.
	Resource string

	// AssertionAudience is what client assertions must have as aud:
	// "token_endpoint", "issuer", or, if it is empty, either.
	AssertionAudience string

	// BindTokens binds the access tokens of clients that authenticate
	// themselves with a certificate to it: the API refuses them without (RFC
	// 8705, section 3).
	BindTokens bool

	// EndAccessOnRefresh ends a grant's access tokens at each refresh.
	EndAccessOnRefresh bool

	// NarrowOnRefresh gives a refresh without a scope parameter no more than
	// the first scope of the grant.
	NarrowOnRefresh bool

	// NoIDTokenOnRefresh leaves the ID token out of the answer to a refresh.
	NoIDTokenOnRefresh bool

	// RevokeEndsGrant makes the revocation of an access token end its grant.
	RevokeEndsGrant bool

	// RevokeRefusesEnded answers 400 invalid_token to the revocation of a
	// token that is not in force, as Google does. RFC 7009, section 2.2 wants
	// 200.
	RevokeRefusesEnded bool

	// RevokeRefreshOnly answers 400 unsupported_token_type when an access
	// token is to be revoked, as Amazon Cognito and Ping Identity do (RFC 7009,
	// section 2.2.1).
	RevokeRefreshOnly bool
}

// A Rotation is what becomes of a refresh token when it is used.
type Rotation string

const (
	RotateStrict Rotation = ""       // replaced; a second use of the old one ends the grant
	RotateGrace  Rotation = "grace"  // replaced; the old one works for Policy.Grace, and ends the grant after that
	RotateReplay Rotation = "replay" // replaced; the old one gets the same answer for Policy.Grace, is refused after that, and the grant goes on
	RotateRefuse Rotation = "refuse" // replaced; the old one works for Policy.Grace, is refused after that, and the grant goes on
	RotateKeep   Rotation = "keep"   // replaced; the old one goes on working
	RotateOnUse  Rotation = "use"    // replaced; the old one works until the new one is used
	RotateNever  Rotation = "never"  // not replaced
)

// An Offline is a provider's rule for when to give a refresh token.
type Offline string

const (
	OfflineScope  Offline = ""       // if the scope offline_access was granted (OpenID Connect Core, section 11)
	OfflineAccess Offline = "access" // with access_type=offline, at a user's first consent or with prompt=consent
	OfflineAlways Offline = "always" // with every code, asked for or not
)
