package authprofile

import "context"

// Maintain looks after grants for which no caller does: it renews those that
// were not used for long, before their provider ends them (see
// Profile.KeepAlive), and tells Notify when a person is needed. It returns when
// ctx ends, or after Shutdown. Every replica may run it, all the time; a job that
// runs it for a minute every so often does as well:
//
//	go m.Maintain(ctx)
//
// What Notify is told are states, not events: a grant whose status is not the one
// that was told last, for longer than a minute. What heals within the minute is
// not told, and what was told and heals is told as [NoticeRecovered]. A renewal
// that fails for now ([StatusFailing]) is not told of: it passes by itself, and
// alerts can go by Failure.Since.
//
//   - A person who has to authorize again is [NoticeNeedsUser], one notice for
//     each grant. If the provider says that it has ended the grant, it is asked
//     once more before.
//   - What an administrator must mend is one [NoticeNeedsAdministrator] for the
//     profile, whatever the number of its grants.
//   - If a provider ends grant after grant of a profile, at least five, and
//     renews none meanwhile, that may be its own fault: the administrator is
//     told, and one grant is tried every minute. If the provider renews it, all
//     are tried again. Users are told only if it lasts for an hour. While no
//     other grant of a profile is renewed, a user is told after ten minutes.
//   - [NoticeExpiring] comes 14, 3 and 1 days before Grant.Ends, and
//     [NoticeSecretExpiring] before Profile.SecretExpires. Those that were
//     missed are told as one.
//
// A notice is delivered at least once, by one process at a time, and with the
// same ID at each attempt, also after a crash. After an error of Notify it is
// delivered again, at intervals that grow from a minute to an hour. All processes
// that run Maintain on one Store should have the same Notify: one that has none
// puts off by a day what is to be told.
//
// The clocks of these processes should agree to within a minute. Otherwise two of
// them may deliver a notice at a time, and what one puts off whose clock is ahead
// comes late.
//
// Renewals of unused grants go through the same lease as all others, ten in a
// second for each host and process, in the background: they never take the places
// of those that callers wait for. A host that does not answer is left alone for a
// while. A pass costs what is due, not what is stored, and needs the same memory
// however much that is.
//
// The error is nil, or that of the last pass if the Store has failed in it.
func (m *Manager) Maintain(ctx context.Context) error {
	e := m.engine()
	if !e.tasks.begin() {
		return wrap("maintain", "", "", errShutdown)
	}
	defer e.tasks.end()
	return wrap("maintain", "", "", e.keeper.run(ctx))
}
