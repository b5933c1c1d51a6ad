package grpcauth_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/examples/connectors/grpcauth"
	"github.com/authprofile/authprofile/examples/connectors/internal/world"
)

// connect starts a server that wants a token of the provider with each call, and
// returns a client of it.
func connect(t *testing.T, w *world.World, opts ...grpc.DialOption) healthpb.HealthClient {
	t.Helper()
	serverTLS, clientTLS := world.TLS(t)
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(serverTLS)),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if err := check(ctx, w); err != nil {
				return nil, err
			}
			return handler(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			if err := check(stream.Context(), w); err != nil {
				return err
			}
			return handler(srv, stream)
		}))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(srv.Stop)
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(clientTLS))}, opts...)
	conn, err := grpc.NewClient(l.Addr().String(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthpb.NewHealthClient(conn)
}

func check(ctx context.Context, w *world.World) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("authorization"); len(got) != 1 || !w.AcceptsHeader(got[0]) {
		return status.Error(codes.Unauthenticated, "the server wants a valid token")
	}
	return nil
}

func call(ctx context.Context, c healthpb.HealthClient) error {
	_, err := c.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// variants are the two ways to send a token with each call.
func variants(w *world.World, p *authprofile.Profile, opts ...authprofile.Option) map[string]grpc.DialOption {
	return map[string]grpc.DialOption{
		"credentials": grpc.WithPerRPCCredentials(grpcauth.Credentials{Manager: w.Manager, Profile: p, Options: opts}),
		"interceptor": grpc.WithUnaryInterceptor(grpcauth.UnaryInterceptor(w.Manager, p, opts...)),
	}
}

func TestCallsHaveATokenEach(t *testing.T) {
	w := world.New(t)
	for name, option := range variants(w, w.App) {
		t.Run(name, func(t *testing.T) {
			c := connect(t, w, option)
			for range 3 {
				if err := call(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			w.WantRequests(t, 1)
		})
	}
}

func TestStreamHasAToken(t *testing.T) {
	w := world.New(t)
	c := connect(t, w, grpc.WithUnaryInterceptor(grpcauth.UnaryInterceptor(w.Manager, w.App)))
	stream, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{},
		grpc.PerRPCCredentials(grpcauth.Credentials{Manager: w.Manager, Profile: w.App}))
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Error(err)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	w := world.New(t)
	c := connect(t, w, grpc.WithUnaryInterceptor(grpcauth.UnaryInterceptor(w.Manager, w.App)))
	w.Refuse(t)
	if err := call(t.Context(), c); err != nil {
		t.Errorf("got %v, want a second call with another token", err)
	}
	w.WantRequests(t, 2)
}

func TestServerThatRefusesAllTokensIsAskedTwice(t *testing.T) {
	w := world.New(t)
	calls := 0
	counting := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		calls++
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	c := connect(t, w, grpc.WithChainUnaryInterceptor(grpcauth.UnaryInterceptor(w.Manager, w.App), counting))
	w.Refuse(t)
	w.RefuseAll()
	err := call(t.Context(), c)
	if got := status.Code(err); got != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", got)
	}
	if calls != 2 {
		t.Errorf("got %d calls, want 2", calls)
	}
	w.WantRequests(t, 2)
	w.WantNoToken(t, err.Error())
}

func TestCodes(t *testing.T) {
	w := world.New(t)
	unknown := &authprofile.Profile{
		Type: authprofile.TypeApp, ClientID: w.App.ClientID, ClientSecret: "wrong", Endpoints: w.App.Endpoints,
	}
	ada := authprofile.AsUser("ada")
	for _, test := range []struct {
		name    string
		options map[string]grpc.DialOption
		want    codes.Code
	}{
		{"the user has to authorize", variants(w, w.Users, ada), codes.Unauthenticated},
		{"no user", variants(w, w.Users), codes.Unauthenticated},
		{"the client is refused", variants(w, unknown), codes.Unauthenticated},
		{"the provider is away", variants(w, w.App), codes.Unavailable},
	} {
		if test.want == codes.Unavailable {
			w.Fail()
		}
		for name, option := range test.options {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				err := call(t.Context(), connect(t, w, option))
				if got := status.Code(err); got != test.want {
					t.Errorf("got %v (%v), want %v", got, err, test.want)
				}
			})
		}
	}
}

func TestWaitEndsWithTheCall(t *testing.T) {
	for _, name := range []string{"credentials", "interceptor"} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			c := connect(t, w, variants(w, w.App)[name])
			err := w.EndsWithContext(t, func(ctx context.Context) error { return call(ctx, c) })
			if got := status.Code(err); got != codes.Canceled {
				t.Errorf("got %v (%v), want Canceled", got, err)
			}
		})
	}
}

func TestNoTokenWithoutTLS(t *testing.T) {
	w := world.New(t)
	c := connect(t, w, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(grpcauth.UnaryInterceptor(w.Manager, w.App)))
	if err := call(t.Context(), c); err == nil {
		t.Error("got no error, want one: the connection has no TLS")
	}
	w.WantRequests(t, 0)
	_, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(grpcauth.Credentials{Manager: w.Manager, Profile: w.App}))
	if err == nil {
		t.Error("got a client, want an error: the connection has no TLS")
	}
}
