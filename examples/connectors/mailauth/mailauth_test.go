package mailauth_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/examples/connectors/internal/world"
	"github.com/authprofile/authprofile/examples/connectors/mailauth"
)

const mailbox = "ada@example.com"

// A mailServer takes tokens of the provider.
type mailServer struct {
	world     *world.World
	challenge bool  // refuse by a challenge first
	refusal   error // how the exchange ends then
	exchanges atomic.Int32
}

func (s *mailServer) mechanism(name string) (sasl.Server, error) {
	s.exchanges.Add(1)
	return &exchange{server: s, name: mailauth.Mechanism(name)}, nil
}

// An exchange is the server's side of both mechanisms.
type exchange struct {
	server  *mailServer
	name    mailauth.Mechanism
	refused bool
}

func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	if e.refused {
		if want := map[mailauth.Mechanism]string{mailauth.XOAUTH2: "", mailauth.OAUTHBEARER: "\x01"}[e.name]; string(response) != want {
			return nil, false, errors.New("the client has not answered the challenge as it must")
		}
		return nil, false, e.server.refusal
	}
	if response == nil {
		return nil, false, nil
	}
	prefix := "user=" + mailbox + "\x01auth=Bearer "
	if e.name == mailauth.OAUTHBEARER {
		prefix = "n,a=" + mailbox + ",\x01auth=Bearer "
	}
	token, ok := bytes.CutPrefix(response, []byte(prefix))
	token, ended := bytes.CutSuffix(token, []byte("\x01\x01"))
	if ok && ended && e.server.world.Accepts(string(token)) {
		return nil, true, nil
	}
	if !e.server.challenge {
		return nil, false, e.server.refusal
	}
	e.refused = true
	return []byte(`{"status":"401","schemes":"bearer"}`), false, nil
}

// imapSession has no mail, and implements what a test uses.
type imapSession struct {
	imapserver.Session
	server *mailServer
}

func (s imapSession) Close() error                                  { return nil }
func (s imapSession) AuthenticateMechanisms() []string              { return []string{"XOAUTH2", "OAUTHBEARER"} }
func (s imapSession) Authenticate(mech string) (sasl.Server, error) { return s.server.mechanism(mech) }
func (s imapSession) Poll(*imapserver.UpdateWriter, bool) error     { return nil }

type smtpSession struct {
	smtp.Session
	server *mailServer
}

func (s smtpSession) Logout() error                         { return nil }
func (s smtpSession) AuthMechanisms() []string              { return []string{"XOAUTH2", "OAUTHBEARER"} }
func (s smtpSession) Auth(mech string) (sasl.Server, error) { return s.server.mechanism(mech) }

func listen(t *testing.T, config *tls.Config, serve func(net.Listener) error) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	go serve(l)
	return l.Addr().String()
}

// protocols start a server, and return how to authenticate at it and how to see
// whether the connection is of use afterwards.
var protocols = map[string]func(t *testing.T, s *mailServer) (authenticate func(sasl.Client) error, use func() error){
	"IMAP": func(t *testing.T, s *mailServer) (func(sasl.Client) error, func() error) {
		s.refusal = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeAuthenticationFailed, Text: "refused"}
		serverTLS, clientTLS := world.TLS(t)
		srv := imapserver.New(&imapserver.Options{NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return imapSession{server: s}, nil, nil
		}})
		t.Cleanup(func() { srv.Close() })
		c, err := imapclient.DialTLS(listen(t, serverTLS, srv.Serve), &imapclient.Options{TLSConfig: clientTLS})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.Authenticate, func() error { return c.Noop().Wait() }
	},
	"SMTP": func(t *testing.T, s *mailServer) (func(sasl.Client) error, func() error) {
		s.refusal = smtp.ErrAuthFailed
		serverTLS, clientTLS := world.TLS(t)
		srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return smtpSession{server: s}, nil }))
		t.Cleanup(func() { srv.Close() })
		c, err := smtp.DialTLS(listen(t, serverTLS, srv.Serve), clientTLS)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.Auth, c.Noop
	},
}

type loginFunc func(context.Context, *authprofile.Profile, ...authprofile.Option) error

// each runs a test with each mechanism of each protocol.
func each(t *testing.T, f func(t *testing.T, s *mailServer, login loginFunc, use func() error)) {
	for name, start := range protocols {
		for _, mechanism := range []mailauth.Mechanism{mailauth.XOAUTH2, mailauth.OAUTHBEARER} {
			t.Run(name+"/"+string(mechanism), func(t *testing.T) {
				t.Parallel() // a Manager does not replace a token at once that is new
				s := &mailServer{world: world.New(t), challenge: true}
				authenticate, use := start(t, s)
				f(t, s, func(ctx context.Context, p *authprofile.Profile, opts ...authprofile.Option) error {
					return mailauth.Login(ctx, mechanism, mailbox, authenticate, s.world.Manager, p, opts...)
				}, use)
			})
		}
	}
}

func TestLogin(t *testing.T) {
	each(t, func(t *testing.T, s *mailServer, login loginFunc, use func() error) {
		if err := login(t.Context(), s.world.App); err != nil {
			t.Fatal(err)
		}
		if err := use(); err != nil {
			t.Error(err)
		}
		s.world.WantRequests(t, 1)
	})
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	for _, challenge := range []bool{true, false} {
		each(t, func(t *testing.T, s *mailServer, login loginFunc, use func() error) {
			s.challenge = challenge
			s.world.Refuse(t)
			if err := login(t.Context(), s.world.App); err != nil {
				t.Fatalf("got %v, want another try with another token", err)
			}
			if err := use(); err != nil {
				t.Error(err)
			}
			s.world.WantRequests(t, 2)
		})
	}
}

func TestServerThatRefusesAllTokensIsAskedTwice(t *testing.T) {
	each(t, func(t *testing.T, s *mailServer, login loginFunc, use func() error) {
		s.world.RefuseAll()
		err := login(t.Context(), s.world.App)
		if err == nil {
			t.Fatal("got no error, want one: the server refuses all tokens")
		}
		if got := s.exchanges.Load(); got != 2 {
			t.Errorf("got %d exchanges, want 2", got)
		}
		s.world.WantNoToken(t, err.Error())
	})
}

// Whatever a server says after a challenge, it was a refusal.
func TestChallengeIsAnswered(t *testing.T) {
	for mechanism, want := range map[mailauth.Mechanism]string{mailauth.XOAUTH2: "", mailauth.OAUTHBEARER: "\x01"} {
		w := world.New(t)
		tries := 0
		err := mailauth.Login(t.Context(), mechanism, mailbox, func(c sasl.Client) error {
			if tries++; tries == 2 {
				return nil
			}
			c.Start()
			got, err := c.Next([]byte(`{"status":"401"}`))
			if err != nil || got == nil || string(got) != want {
				t.Errorf("%s: got answer %q, %v, want %q", mechanism, got, err, want)
			}
			return &imap.Error{Type: imap.StatusResponseTypeBad}
		}, w.Manager, w.App)
		if err != nil || tries != 2 {
			t.Errorf("%s: got %v after %d tries, want success with the second", mechanism, err, tries)
		}
	}
}

func TestErrorThatIsNoRefusal(t *testing.T) {
	w := world.New(t)
	for _, want := range []error{
		errors.New("the connection is lost"),
		&smtp.SMTPError{Code: 454, Message: "try later"},
		&imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeUnavailable},
	} {
		tries := 0
		err := mailauth.Login(t.Context(), mailauth.XOAUTH2, mailbox, func(sasl.Client) error { tries++; return want }, w.Manager, w.App)
		if err != want || tries != 1 {
			t.Errorf("got %v after %d tries, want %v after one", err, tries, want)
		}
	}
	w.WantRequests(t, 1)
}

func TestLoginWithoutAToken(t *testing.T) {
	w := world.New(t)
	never := func(sasl.Client) error { t.Error("got an exchange, want none: there is no token"); return nil }
	err := mailauth.Login(t.Context(), mailauth.XOAUTH2, mailbox, never, w.Manager, w.Users, authprofile.AsUser("ada"))
	if !errors.Is(err, authprofile.ErrReauthorize) {
		t.Errorf("got %v, want ErrReauthorize", err)
	}
	err = w.EndsWithContext(t, func(ctx context.Context) error {
		return mailauth.Login(ctx, mailauth.XOAUTH2, mailbox, never, w.Manager, w.App)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
