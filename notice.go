package authprofile

import "time"

// A Notice tells the application that a person is needed, or no longer is: see
// [Manager.Maintain]. It has no secret in it. The user is the application's own
// identifier.
type Notice struct {
	// ID is the same at each attempt to deliver the notice, in whichever
	// process, and that of no other.
	ID   string     `json:"id"`
	Kind NoticeKind `json:"kind"`

	GrantKey // User is empty if it concerns the profile and all its grants

	Status  Status   `json:"status,omitempty"`  // of the grants concerned
	Failure *Failure `json:"failure,omitempty"` // why; nil if nothing has failed

	At     time.Time `json:"at"`               // since when that is so, or when it will end
	Grants int       `json:"grants,omitempty"` // how many are concerned, if the notice is about the profile
}

// A NoticeKind is what a notice is about.
type NoticeKind string

const (
	// NoticeNeedsUser: the person has to authorize again. Until then there is
	// no token for this grant.
	NoticeNeedsUser NoticeKind = "needs_user"

	// NoticeNeedsAdministrator: the provider refuses the client, the profile
	// does not fit the provider, or the provider has ended many grants at once.
	// There is one notice for the profile, whatever the number of its grants.
	NoticeNeedsAdministrator NoticeKind = "needs_administrator"

	// NoticeRecovered: what one of the two above has told is over.
	NoticeRecovered NoticeKind = "recovered"

	// NoticeExpiring: the grant ends at that time unless it is used or
	// authorized again.
	NoticeExpiring NoticeKind = "expiring"

	// NoticeSecretExpiring: the client secret of the profile ends at that time.
	NoticeSecretExpiring NoticeKind = "secret_expiring"
)
