// Package mailauth logs in to IMAP and SMTP servers by access tokens of a
// Manager: SASL XOAUTH2 and OAUTHBEARER, for the clients of
// github.com/emersion/go-imap and github.com/emersion/go-smtp.
package mailauth

import (
	"context"
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/authprofile/authprofile"
)

// A Mechanism is a way to show a token to a server.
type Mechanism string

const (
	XOAUTH2     Mechanism = "XOAUTH2"     // of Google, Microsoft and others, older than the standard
	OAUTHBEARER Mechanism = "OAUTHBEARER" // RFC 7628
)

// Login logs in to a mailbox, whose name is usually its address. It gets a token,
// no later than ctx ends, and authenticates by it: authenticate is
// (*imapclient.Client).Authenticate or (*smtp.Client).Auth, of a connection with
// TLS. If the server refuses the token, Login tries once more, with another one.
// How long the server may take is for the deadlines of the connection to say.
func Login(ctx context.Context, mechanism Mechanism, mailbox string, authenticate func(sasl.Client) error,
	m *authprofile.Manager, p *authprofile.Profile, opts ...authprofile.Option) error {
	tok, err := m.Token(ctx, p, opts...)
	if err != nil {
		return err
	}
	c := &client{mechanism: mechanism, mailbox: mailbox, token: tok.AccessToken}
	if err = authenticate(c); err == nil || !c.challenged && !isRefusal(err) {
		return err
	}
	tok, err = m.Token(ctx, p, append(slices.Clip(opts), authprofile.Rejected(tok))...)
	if err != nil {
		return err
	}
	return authenticate(&client{mechanism: mechanism, mailbox: mailbox, token: tok.AccessToken})
}

// isRefusal reports whether an error is the answer of a server that refuses a
// token without a challenge, as some do: NO by IMAP, and code 535 by
// SMTP (RFC 4954, section 6).
func isRefusal(err error) bool {
	if no, ok := errors.AsType[*imap.Error](err); ok {
		return no.Type == imap.StatusResponseTypeNo && (no.Code == "" || no.Code == imap.ResponseCodeAuthenticationFailed)
	}
	reply, ok := errors.AsType[*smtp.SMTPError](err)
	return ok && reply.Code == 535
}

// A client is one exchange. That of package sasl does not answer a challenge, so
// that an IMAP connection could not be used again.
type client struct {
	mechanism      Mechanism
	mailbox, token string
	challenged     bool
}

// Start returns the message that has the token.
func (c *client) Start() (mechanism string, message []byte, err error) {
	if c.mechanism == XOAUTH2 {
		return string(XOAUTH2), []byte("user=" + c.mailbox + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
	}
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: c.mailbox, Token: c.token}).Start()
}

// Next answers the challenge, which says as JSON why the token is refused. The
// server waits for the answer, and then ends the exchange.
func (c *client) Next([]byte) ([]byte, error) {
	c.challenged = true
	if c.mechanism == XOAUTH2 {
		return []byte{}, nil
	}
	return []byte{1}, nil
}
