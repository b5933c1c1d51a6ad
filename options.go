package authprofile

import (
	"fmt"
	"io"

	"golang.org/x/oauth2"
)

// An Option says more about the token that is wanted: [AsUser] for whom, and
// [Rejected] which one not.
type Option interface{ option() }

type asUser string

type rejected struct{ accessToken string }

func (asUser) option()   {}
func (rejected) option() {}

// Format keeps the token, which has only just ended or not even that, out of
// print.
func (rejected) Format(f fmt.State, verb rune) { io.WriteString(f, "Rejected") }

// AsUser asks for a token that acts for the user. It is required for profiles
// of TypeUser, and refused for those of TypeApp. The user is never taken from
// anywhere else.
//
// It is the application's own identifier for one account at the provider. An
// application whose people connect several gives each connection its own, such
// as "ada/2".
func AsUser(user string) Option { return asUser(user) }

// Rejected says that an API has refused tok, though it may look valid, and
// asks for a different one. If tok is nil, nothing is rejected.
//
// An API that goes on refusing does not make a storm of token requests. If the
// refused token is a new one, it takes up to a second before another is asked
// for; if it was itself obtained in place of a refused one, there is an error,
// for two seconds at first and for about six minutes in the end; and if the
// provider gives the same token again, for a minute or more.
//
// Most callers need not interact with it: [Manager.Client] uses it by itself.
func Rejected(tok *oauth2.Token) Option {
	if tok == nil {
		return rejected{}
	}
	return rejected{tok.AccessToken}
}

type options struct {
	user     string
	hasUser  bool
	rejected string
}

func parseOptions(opts []Option) (o options) {
	for _, opt := range opts {
		switch opt := opt.(type) {
		case asUser:
			o.user, o.hasUser = string(opt), true
		case rejected:
			o.rejected = opt.accessToken
		}
	}
	return o
}
