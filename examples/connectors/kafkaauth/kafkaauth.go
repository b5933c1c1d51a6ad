// Package kafkaauth authenticates at Kafka brokers by access tokens of a Manager:
// SASL OAUTHBEARER (RFC 7628, KIP-255) for github.com/twmb/franz-go.
package kafkaauth

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// Mechanism returns what kgo.SASL takes. It is asked for a token for each
// connection, and again when the broker wants a connection to authenticate anew
// (KIP-368). The wait for a token ends with the context of the client
// (kgo.WithContext) and with its Close. Use it over TLS only.
//
// A failure that passes is tried again as kgo does after a failure of the
// network, by kgo.RequestRetries and kgo.RetryTimeout. If a broker answers that
// it does not take the token, there is one more try, with another token. What is left
// is the error of the request; records that are to be produced wait for as long
// as kgo.RecordDeliveryTimeout says, which is without end if it is not set.
func Mechanism(m *authprofile.Manager, p *authprofile.Profile, opts ...authprofile.Option) sasl.Mechanism {
	return &mechanism{manager: m, profile: p, options: opts}
}

type mechanism struct {
	manager *authprofile.Manager
	profile *authprofile.Profile
	options []authprofile.Option
	refused atomic.Pointer[oauth2.Token] // by a broker; nil again once a broker has accepted another one
}

func (*mechanism) Name() string { return "OAUTHBEARER" }

func (k *mechanism) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	refused := k.refused.Load()
	tok, err := k.manager.Token(ctx, k.profile, append(slices.Clip(k.options), authprofile.Rejected(refused))...)
	if err != nil {
		return nil, nil, err // kgo asks it whether to try again: authprofile.Error is Temporary
	}
	_, message, err := oauth.Auth{Token: tok.AccessToken}.AsMechanism().Authenticate(ctx, host)
	return &session{k, tok, refused}, message, err
}

type session struct {
	mechanism *mechanism
	token     *oauth2.Token
	refused   *oauth2.Token // the token is in place of this one; nil: of none
}

// Challenge takes the broker's answer, which is empty if it accepts the token.
// Otherwise the exchange could only be ended in an error that kgo does not try
// again after (RFC 7628, section 3.2.3), so it is given up here.
func (s *session) Challenge(answer []byte) (done bool, message []byte, err error) {
	if len(answer) == 0 {
		s.mechanism.refused.CompareAndSwap(s.refused, nil)
		return true, nil, nil
	}
	s.mechanism.refused.Store(s.token)
	var problem struct {
		Status string `json:"status"`
	}
	json.Unmarshal(answer, &problem) // without a status the error says less
	return false, nil, failure{fmt.Errorf("the broker has refused the token: %q", problem.Status), s.refused == nil}
}

// A failure is an error with the method by which kgo asks whether to try again.
type failure struct {
	error
	temporary bool
}

func (f failure) Temporary() bool { return f.temporary }
func (f failure) Unwrap() error   { return f.error }
