package azureauth_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/examples/connectors/azureauth"
	"github.com/authprofile/authprofile/examples/connectors/internal/world"
)

// A service is one of Azure's, and a client of it as the SDK builds them.
type service struct {
	requests atomic.Int32
	put      func(ctx context.Context) (*http.Response, error)
}

func newService(t *testing.T, w *world.World, credential azureauth.Credential, options policy.ClientOptions) *service {
	t.Helper()
	s := new(service)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if body, _ := io.ReadAll(r.Body); string(body) != "text" {
			rw.WriteHeader(http.StatusBadRequest)
		} else if !w.AcceptsHeader(r.Header.Get("Authorization")) {
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(srv.Close)
	options.Transport = srv.Client()
	bearer := runtime.NewBearerTokenPolicy(credential, []string{"https://vault.azure.net/.default"}, nil)
	pipeline := runtime.NewPipeline("test", "v1", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, &options)
	s.put = func(ctx context.Context) (*http.Response, error) {
		req, err := runtime.NewRequest(ctx, http.MethodPut, srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if err := req.SetBody(streaming.NopCloser(strings.NewReader("text")), "text/plain"); err != nil {
			t.Fatal(err)
		}
		return pipeline.Do(req)
	}
	return s
}

func (s *service) wantStatus(t *testing.T, want int) {
	t.Helper()
	resp, err := s.put(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Errorf("got status %d, want %d", resp.StatusCode, want)
	}
}

func credential(w *world.World) azureauth.Credential {
	return azureauth.Credential{Manager: w.Manager, Profile: w.App}
}

func retrying(c azureauth.Credential) policy.ClientOptions {
	return policy.ClientOptions{PerRetryPolicies: []policy.Policy{c.RetryPolicy()}}
}

func TestRequestsHaveAToken(t *testing.T) {
	w := world.New(t)
	for _, options := range []policy.ClientOptions{{}, retrying(credential(w))} {
		s := newService(t, w, credential(w), options)
		for range 3 {
			s.wantStatus(t, http.StatusOK)
		}
	}
	w.WantRequests(t, 1)
}

func TestTokenEndsWhenTheProviderSays(t *testing.T) {
	w := world.New(t)
	tok, err := credential(w).GetToken(t.Context(), policy.TokenRequestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(tok.ExpiresOn); left < 50*time.Minute || left > time.Hour {
		t.Errorf("got a token that ends in %v, want an hour", left)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	w := world.New(t)
	s := newService(t, w, credential(w), retrying(credential(w)))
	s.wantStatus(t, http.StatusOK)
	w.Refuse(t)
	s.wantStatus(t, http.StatusOK)
	s.wantStatus(t, http.StatusOK)
	w.WantRequests(t, 2)
	if got := s.requests.Load(); got != 4 {
		t.Errorf("got %d requests, want 4: one was refused", got)
	}
}

func TestServiceThatRefusesAllTokensIsAskedTwice(t *testing.T) {
	w := world.New(t)
	s := newService(t, w, credential(w), retrying(credential(w)))
	w.RefuseAll()
	s.wantStatus(t, http.StatusUnauthorized)
	if got := s.requests.Load(); got != 2 {
		t.Errorf("got %d requests, want 2", got)
	}
	s.wantStatus(t, http.StatusUnauthorized) // it is too soon for another token
	w.WantRequests(t, 2)
}

// The policy is of use without a Credential, too, which would see to TLS.
func TestRetryPolicySendsNoTokenWithoutTLS(t *testing.T) {
	w := world.New(t)
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(srv.Close)
	options := retrying(credential(w))
	options.Retry.MaxRetries = -1
	pipeline := runtime.NewPipeline("test", "v1", runtime.PipelineOptions{}, &options)
	req, err := runtime.NewRequest(t.Context(), http.MethodGet, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Do(req); err == nil || requests.Load() > 0 {
		t.Errorf("got %v and %d requests, want an error and none", err, requests.Load())
	}
	w.WantRequests(t, 0)
}

func TestUserIsNeeded(t *testing.T) {
	w := world.New(t)
	c := azureauth.Credential{Manager: w.Manager, Profile: w.Users, Options: []authprofile.Option{authprofile.AsUser("ada")}}
	s := newService(t, w, c, policy.ClientOptions{})
	if _, err := s.put(t.Context()); !errors.Is(err, authprofile.ErrReauthorize) {
		t.Errorf("got %v, want ErrReauthorize", err)
	}
	if got := s.requests.Load(); got != 0 {
		t.Errorf("got %d requests to the service, want none", got)
	}
}

func TestWaitEndsWithTheRequest(t *testing.T) {
	w := world.New(t)
	s := newService(t, w, credential(w), policy.ClientOptions{})
	err := w.EndsWithContext(t, func(ctx context.Context) error { _, err := s.put(ctx); return err })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
