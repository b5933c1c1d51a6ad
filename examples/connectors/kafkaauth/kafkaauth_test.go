package kafkaauth_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/examples/connectors/internal/world"
	"github.com/authprofile/authprofile/examples/connectors/kafkaauth"
)

const topic = "orders"

// A broker speaks OAUTHBEARER as Apache Kafka does, and is otherwise that of
// kfake, which does not know this mechanism.
type broker struct {
	authenticates atomic.Int32 // how often a client has tried
}

func newBroker(t *testing.T, w *world.World) (*broker, []kgo.Opt) {
	t.Helper()
	serverTLS, clientTLS := world.TLS(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.TLS(serverTLS))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := new(broker)
	cluster.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.SupportedMechanisms = []string{"OAUTHBEARER"}
		if r.(*kmsg.SASLHandshakeRequest).Mechanism != "OAUTHBEARER" {
			resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return resp, nil, true
	})
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		b.authenticates.Add(1)
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		message := r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes
		token, ok := bytes.CutPrefix(message, []byte("n,,\x01auth=Bearer "))
		if token, ended := bytes.CutSuffix(token, []byte("\x01\x01")); !ok || !ended || !w.Accepts(string(token)) {
			resp.SASLAuthBytes = []byte(`{"status":"invalid_token"}`)
		}
		return resp, nil, true
	})
	return b, []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DialTLSConfig(clientTLS), kgo.DefaultProduceTopic(topic)}
}

func connect(t *testing.T, w *world.World, p *authprofile.Profile, opts ...authprofile.Option) (*broker, *kgo.Client) {
	t.Helper()
	b, client := newBroker(t, w)
	cl, err := kgo.NewClient(append(client, kgo.SASL(kafkaauth.Mechanism(w.Manager, p, opts...)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return b, cl
}

func produce(ctx context.Context, cl *kgo.Client) error {
	return cl.ProduceSync(ctx, kgo.StringRecord("one")).FirstErr()
}

func TestProduceAndConsume(t *testing.T) {
	w := world.New(t)
	_, cl := connect(t, w, w.App)
	if err := produce(t.Context(), cl); err != nil {
		t.Fatal(err)
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})
	fetches := cl.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if got := fetches.NumRecords(); got != 1 {
		t.Errorf("got %d records, want 1", got)
	}
	w.WantRequests(t, 1)
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	w := world.New(t)
	_, cl := connect(t, w, w.App)
	w.Refuse(t)
	if err := produce(t.Context(), cl); err != nil {
		t.Errorf("got %v, want another try with another token", err)
	}
	w.WantRequests(t, 2)
}

func TestBrokerThatRefusesAllTokensIsAskedTwice(t *testing.T) {
	w := world.New(t)
	b, cl := connect(t, w, w.App)
	w.RefuseAll()
	err := cl.Ping(t.Context())
	if err == nil {
		t.Fatal("got no error, want one: the broker refuses all tokens")
	}
	if got := b.authenticates.Load(); got != 2 {
		t.Errorf("got %d tries, want 2", got)
	}
	w.WantRequests(t, 2)
	w.WantNoToken(t, err.Error())
}

func TestOnlyTheFirstRefusalInARowIsTemporary(t *testing.T) {
	w := world.New(t)
	m := kafkaauth.Mechanism(w.Manager, w.App)
	for i, test := range []struct {
		answer    string
		temporary bool
	}{
		{`{"status":"invalid_token"}`, true},
		{`{"status":"invalid_token"}`, false},
	} {
		s, _, err := m.Authenticate(t.Context(), "broker")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Challenge([]byte(test.answer)); err == nil || isTemporary(err) != test.temporary {
			t.Errorf("%d: got %v, want an error that is temporary: %v", i, err, test.temporary)
		}
	}
}

func TestAcceptedTokenEndsTheRefusal(t *testing.T) {
	w := world.New(t)
	m := kafkaauth.Mechanism(w.Manager, w.App)
	try := func(answer string) error {
		t.Helper()
		s, _, err := m.Authenticate(t.Context(), "broker")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.Challenge([]byte(answer))
		return err
	}
	const refusal = `{"status":"invalid_token"}`
	try(refusal)
	if err := try(""); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	if err := try(refusal); !isTemporary(err) {
		t.Errorf("got %v, want an error that is temporary", err)
	}
}

func TestFailuresThatPassAreTemporary(t *testing.T) {
	w := world.New(t)
	_, _, err := kafkaauth.Mechanism(w.Manager, w.Users, authprofile.AsUser("ada")).Authenticate(t.Context(), "broker")
	if !errors.Is(err, authprofile.ErrReauthorize) || isTemporary(err) {
		t.Errorf("got %v, want ErrReauthorize, which is not temporary", err)
	}
	w.Fail()
	_, _, err = kafkaauth.Mechanism(w.Manager, w.App).Authenticate(t.Context(), "broker")
	if !isTemporary(err) {
		t.Errorf("got %v, want an error that is temporary", err)
	}
}

// isTemporary is what kgo asks of an error.
func isTemporary(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}

func TestClientReturnsThatAUserIsNeeded(t *testing.T) {
	w := world.New(t)
	b, cl := connect(t, w, w.Users, authprofile.AsUser("ada"))
	if err := cl.Ping(t.Context()); !errors.Is(err, authprofile.ErrReauthorize) {
		t.Errorf("got %v, want ErrReauthorize", err)
	}
	if got := b.authenticates.Load(); got != 0 {
		t.Errorf("got %d tries at the broker, want none", got)
	}
}

func TestWaitEndsWithTheClient(t *testing.T) {
	w := world.New(t)
	_, opts := newBroker(t, w)
	w.EndsWithContext(t, func(ctx context.Context) error {
		cl, err := kgo.NewClient(append(opts, kgo.WithContext(ctx), kgo.SASL(kafkaauth.Mechanism(w.Manager, w.App)))...)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		return cl.Ping(context.Background())
	})
}
