// Package pgauth connects package database/sql to PostgreSQL by access tokens of
// a Manager in place of a password, as the services of the large clouds take
// them. It uses the driver github.com/jackc/pgx/v5.
package pgauth

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// Open returns a database, each connection of which authenticates by the token of
// the moment when it is made. A connection that is there stays: set
// SetConnMaxLifetime if it is not to outlive the token. The wait for a token ends
// with the context of the call that needs a connection. If the server refuses the
// token, there is one more try, with another one.
//
// A server may ask for the password as it is, and so gets the token: a
// configuration by which it could go over a network without TLS, which
// sslmode=disable, allow and prefer make, is an error.
func Open(config *pgx.ConnConfig, m *authprofile.Manager, p *authprofile.Profile, opts ...authprofile.Option) (*sql.DB, error) {
	inTheClear := config.TLSConfig == nil && !isLocal(config.Host)
	for _, f := range config.Fallbacks {
		inTheClear = inTheClear || f.TLSConfig == nil && !isLocal(f.Host)
	}
	if inTheClear {
		return nil, errors.New("pgauth: a token may not be sent without TLS: use sslmode=verify-full")
	}
	return sql.OpenDB(connector{config.Copy(), m, p, opts}), nil
}

// isLocal reports whether a host is a loopback address or a folder of sockets.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasPrefix(host, "/")
}

type connector struct {
	config  *pgx.ConnConfig
	manager *authprofile.Manager
	profile *authprofile.Profile
	options []authprofile.Option
}

func (c connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	tok, err := c.manager.Token(ctx, c.profile, c.options...)
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx, tok)
	if !isRefusal(err) {
		return conn, err
	}
	tok, err = c.manager.Token(ctx, c.profile, append(slices.Clip(c.options), authprofile.Rejected(tok))...)
	if err != nil {
		return nil, err
	}
	return c.connect(ctx, tok)
}

// isRefusal reports whether an error is the answer of a server that does not take the
// token: invalid_password, or invalid_authorization_specification if the server asks
// another program, by PAM, as that of Amazon RDS does.
func isRefusal(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (refusal.Code == "28P01" || refusal.Code == "28000")
}

func (c connector) connect(ctx context.Context, tok *oauth2.Token) (driver.Conn, error) {
	config := c.config.Copy()
	config.Password = tok.AccessToken
	return stdlib.GetConnector(*config).Connect(ctx)
}
