// Package grpcauth sends access tokens of a Manager with gRPC calls.
package grpcauth

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/authprofile/authprofile"
)

// Credentials send a token with each call, over TLS only. Give them to
// grpc.WithPerRPCCredentials, or to grpc.PerRPCCredentials for a single call.
type Credentials struct {
	Manager *authprofile.Manager
	Profile *authprofile.Profile
	Options []authprofile.Option
}

var _ credentials.PerRPCCredentials = Credentials{}

// GetRequestMetadata returns the header of a call. It waits for a token no
// longer than the call lasts.
func (c Credentials) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	_, header, err := c.header(ctx)
	return header, err
}

func (c Credentials) header(ctx context.Context) (*oauth2.Token, map[string]string, error) {
	tok, err := c.Manager.Token(ctx, c.Profile, c.Options...)
	if err != nil {
		return nil, nil, status.Error(code(err), err.Error())
	}
	return tok, map[string]string{"authorization": "Bearer " + tok.AccessToken}, nil
}

// RequireTransportSecurity makes gRPC refuse to send a token in the clear.
func (Credentials) RequireTransportSecurity() bool { return true }

// code is Unauthenticated if only a person or a change of the program can help.
// Otherwise it is one that retry policies, and people, take for passing.
func code(err error) codes.Code {
	var passing interface{ Temporary() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.As(err, &passing) && passing.Temporary():
		return codes.Unavailable
	}
	return codes.Unauthenticated
}

// UnaryInterceptor sends a token with each unary call, as [Credentials] do. If
// the server refuses it as Unauthenticated, the call is made once more with
// another token. Give it to grpc.WithUnaryInterceptor or
// grpc.WithChainUnaryInterceptor in place of grpc.WithPerRPCCredentials, which
// would send a second header. Streams on the same connection take Credentials by
// the call option grpc.PerRPCCredentials.
func UnaryInterceptor(m *authprofile.Manager, p *authprofile.Profile, opts ...authprofile.Option) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, callOpts ...grpc.CallOption) error {
		call := func(opts []authprofile.Option) (*oauth2.Token, error) {
			c := &recorder{Credentials: Credentials{m, p, opts}}
			err := invoke(ctx, method, req, reply, cc, append(slices.Clip(callOpts), grpc.PerRPCCredentials(c))...)
			return c.sent.Load(), err
		}
		sent, err := call(opts)
		if sent == nil || status.Code(err) != codes.Unauthenticated {
			return err
		}
		_, err = call(append(slices.Clip(opts), authprofile.Rejected(sent)))
		return err
	}
}

// A recorder remembers the token that a call was made with. gRPC may ask it more
// than once, when it sends the call over another connection.
type recorder struct {
	Credentials
	sent atomic.Pointer[oauth2.Token]
}

func (r *recorder) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	tok, header, err := r.header(ctx)
	r.sent.Store(tok)
	return header, err
}
