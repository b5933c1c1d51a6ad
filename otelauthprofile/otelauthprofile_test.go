package otelauthprofile_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/otelauthprofile"
	"github.com/authprofile/authprofile/providertest"
)

const (
	sentinelUser   = "ada-SENTINEL-user@example.com"
	sentinelSecret = "SENTINEL-client secret"
	sentinelWords  = "SENTINEL-words"
)

// A world is a provider, a Store, and what was exported of a Manager.
type world struct {
	*testing.T
	srv    *providertest.Server
	store  *authprofile.MemStore
	reader *sdkmetric.ManualReader
	meters *sdkmetric.MeterProvider
	spans  *tracetest.InMemoryExporter
	tracer *sdktrace.TracerProvider
}

func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, srv: providertest.NewServer(t, providertest.InMemory("https://login.example.com")), store: new(authprofile.MemStore)}
		w.srv.SetSigning(providertest.ES256)
		w.srv.SetClientSecret(providertest.ClientID, sentinelSecret)
		w.reader = sdkmetric.NewManualReader()
		w.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader))
		w.spans = tracetest.NewInMemoryExporter()
		w.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))
		f(t, w)
	})
}

// manager returns a Manager that is traced.
func (w *world) manager(opts ...otelauthprofile.Option) *authprofile.Manager {
	m := &authprofile.Manager{
		Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback",
		Trace: otelauthprofile.New(append(opts, otelauthprofile.WithMeterProvider(w.meters), otelauthprofile.WithTracerProvider(w.tracer))...),
	}
	w.Cleanup(func() { m.Shutdown(context.Background()) })
	return m
}

func (w *world) userProfile(m *authprofile.Manager, id string) *authprofile.Profile {
	w.Helper()
	p := &authprofile.Profile{
		ID: id, Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: sentinelSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}, Scopes: []string{"openid", "read", "offline_access"},
	}
	if err := m.Save(w.Context(), p); err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) authorize(m *authprofile.Manager, p *authprofile.Profile, user string) {
	w.Helper()
	f, err := m.Begin(w.Context(), p, user)
	if err != nil {
		w.Fatal(err)
	}
	back, err := w.srv.Authorize(f.URL)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := m.Finish(w.Context(), user, back.Query()); err != nil {
		w.Fatal(err)
	}
}

// answers lets the token endpoint refuse with a code and with all that a
// provider may say.
func (w *world) answers(status int, code string) {
	w.srv.Fault(providertest.Token, providertest.Fault{
		Times: -1, Status: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: fmt.Sprintf(`{"error":%q,"error_description":"%s %s"}`, code, sentinelWords, sentinelSecret),
	})
}

// collected returns what was measured: for each series its value, or how often
// something was recorded in it.
func (w *world) collected() map[string]float64 {
	w.Helper()
	synctest.Wait()
	var rm metricdata.ResourceMetrics
	if err := w.reader.Collect(w.Context(), &rm); err != nil {
		w.Fatal(err)
	}
	all := make(map[string]float64)
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			series := func(set attribute.Set) string { return m.Name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}" }
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					all[series(p.Attributes)] = float64(p.Count)
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					all[series(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					all[series(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					all[series(p.Attributes)] = p.Value
				}
			default:
				w.Errorf("%s: got data of type %T, want one that is known", m.Name, data)
			}
		}
	}
	return all
}

// wants wants just these series, of the metrics whose names begin with prefix.
func (w *world) wants(prefix string, want map[string]float64) {
	w.Helper()
	got := w.collected()
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, prefix) })
	if !maps.Equal(got, want) {
		w.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}
}

func lines(m map[string]float64) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "\t%s %v\n", name, m[name])
	}
	return b.String()
}

// lapse lets an hour pass, and with it the life of the tokens.
func lapse() { time.Sleep(time.Hour + time.Second) }

func TestMetrics(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.manager()
		p := w.userProfile(m, "crm")
		as := authprofile.AsUser(sentinelUser)
		w.authorize(m, p, sentinelUser)
		if _, err := m.Token(t.Context(), p, as); err != nil { // from memory
			t.Fatal(err)
		}
		want := map[string]float64{
			"authprofile.client.token_request.duration{authprofile.profile.id=crm,oauth.grant_type=authorization_code,server.address=login.example.com}": 1,
		}
		w.wants("", want)

		lapse()
		if _, err := m.Token(t.Context(), p, as); err != nil {
			t.Fatal(err)
		}
		want["authprofile.client.token_request.duration{authprofile.profile.id=crm,oauth.grant_type=refresh_token,server.address=login.example.com}"] = 1
		want["authprofile.client.token.wait.duration{authprofile.profile.id=crm}"] = 1
		w.wants("", want)

		lapse()
		w.answers(400, "out_of_cheese "+sentinelWords)
		m.Token(t.Context(), p, as)
		want["authprofile.client.token_request.duration{authprofile.profile.id=crm,error.type=refused,oauth.grant_type=refresh_token,server.address=login.example.com}"] = 1
		want["authprofile.client.token.wait.duration{authprofile.profile.id=crm,error.type=refused}"] = 1
		want["authprofile.grant.transitions{authprofile.failure.reason=refused,authprofile.profile.id=crm,authprofile.transition.from=active,authprofile.transition.to=failing}"] = 1
		w.wants("", want)

		w.srv.ClearFaults(providertest.Token)
		w.answers(400, "invalid_grant")
		lapse()
		m.Token(t.Context(), p, as)
		want["authprofile.client.token_request.duration{authprofile.profile.id=crm,error.type=invalid_grant,oauth.grant_type=refresh_token,server.address=login.example.com}"] = 1
		want["authprofile.client.token.wait.duration{authprofile.profile.id=crm,error.type=revoked}"] = 1
		want["authprofile.grant.transitions{authprofile.failure.reason=revoked,authprofile.profile.id=crm,authprofile.transition.from=failing,authprofile.transition.to=needs_reauthorization}"] = 1
		w.wants("", want)

		m.Token(t.Context(), p, authprofile.AsUser("eve"))
		want["authprofile.client.token.wait.duration{authprofile.profile.id=crm,error.type=needs_reauthorization}"] = 1
		w.wants("", want)
	})
}

// What only processes among themselves notice.
func TestMetricsOfAFleet(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.manager()
		m.Trace.LeaseTakeover(t.Context(), "crm")
		m.Trace.StoreConflict(t.Context(), "crm")
		m.Trace.StoreConflict(t.Context(), "crm")
		w.wants("", map[string]float64{
			"authprofile.lease.takeovers{authprofile.profile.id=crm}": 1,
			"authprofile.store.conflicts{authprofile.profile.id=crm}": 2,
		})
		// Nothing was sent, and nothing is measured.
		_, done := m.Trace.TokenRequest(t.Context(), authprofile.TokenRequest{ProfileID: "crm", GrantType: "refresh_token", Server: "login.example.com:8443"})
		done(authprofile.TokenResult{Withdrawn: true})
		w.wants("authprofile.client", map[string]float64{})
	})
}

func TestErrorTypesOfWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.manager(otelauthprofile.WithoutProfileID())
		want := make(map[string]float64)
		for name, wait := range map[string]authprofile.TokenWait{
			"canceled":            {Err: context.Canceled},
			"timeout":             {Err: context.DeadlineExceeded},
			"needs_configuration": {Err: authprofile.ErrConfiguration},
			"not_found":           {Err: authprofile.ErrNotFound},
			"user_mismatch":       {Err: authprofile.ErrUserMismatch},
			"_OTHER":              {Err: fmt.Errorf("%s", sentinelWords)},
			"unavailable":         {Err: fmt.Errorf("%s", sentinelWords), Reason: authprofile.ReasonUnavailable},
		} {
			wait.ProfileID = "crm"
			m.Trace.TokenWait(t.Context(), wait)
			want["authprofile.client.token.wait.duration{error.type="+name+"}"] = 1
		}
		w.wants("", want)
	})
}

// Names, units and boundaries are what dashboards and alerts are made for.
func TestInstruments(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.manager()
		p := w.userProfile(m, "crm")
		p.SecretExpires = time.Now().Add(time.Hour)
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := w.store.PutGrant(t.Context(), endingGrant("crm", "ada", time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := otelauthprofile.ObserveGrants(m, otelauthprofile.WithMeterProvider(w.meters)); err != nil {
			t.Fatal(err)
		}
		_, done := m.Trace.TokenRequest(t.Context(), authprofile.TokenRequest{})
		done(authprofile.TokenResult{Took: 3 * time.Second})
		m.Trace.TokenWait(t.Context(), authprofile.TokenWait{})
		m.Trace.Transition(t.Context(), authprofile.Transition{})
		m.Trace.LeaseTakeover(t.Context(), "")
		m.Trace.StoreConflict(t.Context(), "")
		var rm metricdata.ResourceMetrics
		if err := w.reader.Collect(t.Context(), &rm); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, s := range rm.ScopeMetrics {
			for _, m := range s.Metrics {
				got[m.Name] = m.Unit
				if h, ok := m.Data.(metricdata.Histogram[float64]); ok && h.DataPoints[0].Bounds[10] != 2.5 {
					t.Errorf("%s: got boundaries %v, want those for seconds", m.Name, h.DataPoints[0].Bounds)
				}
				if m.Description == "" {
					t.Errorf("%s: got no description, want one", m.Name)
				}
			}
		}
		want := map[string]string{
			"authprofile.client.token_request.duration": "s",
			"authprofile.client.token.wait.duration":    "s",
			"authprofile.grant.transitions":             "{transition}",
			"authprofile.lease.takeovers":               "{takeover}",
			"authprofile.store.conflicts":               "{conflict}",
			"authprofile.grant.count":                   "{grant}",
			"authprofile.grant.remaining":               "s",
			"authprofile.client.secret.remaining":       "s",
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A span is the root of a trace of its own, and linked to that of the caller. It
// ends when the request does, though the Trace hears of it later.
func TestSpans(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.manager(otelauthprofile.WithoutProfileID())
		p := w.userProfile(m, "crm")
		w.authorize(m, p, sentinelUser)
		w.spans.Reset()

		lapse()
		var inTransport trace.SpanContext
		m.HTTPClient.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				inTransport = trace.SpanContextFromContext(r.Context())
			}
			return w.srv.Transport().RoundTrip(r)
		})
		m = &authprofile.Manager{Store: w.store, HTTPClient: m.HTTPClient, Trace: m.Trace}
		w.srv.Fault(providertest.Token, providertest.Fault{Delay: 2 * time.Second})
		ctx, caller := w.tracer.Tracer("test").Start(t.Context(), "caller")
		if _, err := m.Token(ctx, p, authprofile.AsUser(sentinelUser)); err != nil {
			t.Fatal(err)
		}
		caller.End()
		synctest.Wait()
		var got tracetest.SpanStub
		for _, s := range w.spans.GetSpans() {
			if s.Name == "authprofile.token_request" {
				got = s
			}
		}
		attrs := map[attribute.Key]string{}
		for _, a := range got.Attributes {
			attrs[a.Key] = a.Value.String()
		}
		wantAttrs := map[attribute.Key]string{
			"authprofile.profile.id": "crm", "oauth.grant_type": "refresh_token",
			"server.address": "login.example.com", "http.response.status_code": "200",
		}
		switch {
		case got.SpanKind != trace.SpanKindClient || got.Parent.IsValid() || got.SpanContext.TraceID() == caller.SpanContext().TraceID():
			t.Errorf("got %+v, want a root of kind client", got)
		case len(got.Links) != 1 || got.Links[0].SpanContext.SpanID() != caller.SpanContext().SpanID():
			t.Errorf("got links %v, want one to the caller's span", got.Links)
		case got.EndTime.Sub(got.StartTime) != 2*time.Second:
			t.Errorf("got a span of %v, want 2 s", got.EndTime.Sub(got.StartTime))
		case !maps.Equal(attrs, wantAttrs):
			t.Errorf("got attributes %v, want %v", attrs, wantAttrs)
		case inTransport.SpanID() != got.SpanContext.SpanID():
			t.Error("got another span in the transport, want this one")
		case got.Status.Code != codes.Unset:
			t.Errorf("got status %v, want none", got.Status)
		}

		w.spans.Reset()
		lapse()
		w.answers(400, "invalid_grant")
		m.Token(t.Context(), p, authprofile.AsUser(sentinelUser))
		synctest.Wait()
		spans := w.spans.GetSpans()
		if len(spans) != 1 || spans[0].Status.Code != codes.Error || spans[0].Status.Description != "" || len(spans[0].Links) != 0 ||
			!slices.Contains(spans[0].Attributes, attribute.String("error.type", "invalid_grant")) {
			t.Errorf("got %+v, want a span with the error and without a link", spans)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Tokens, secrets, users and what a provider says are nowhere in what is
// exported.
func TestNothingLeaks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.manager()
		if _, err := otelauthprofile.ObserveGrants(m, otelauthprofile.WithMeterProvider(w.meters)); err != nil {
			t.Fatal(err)
		}
		p := w.userProfile(m, "crm")
		as := authprofile.AsUser(sentinelUser)
		secrets := []string{"SENTINEL"}
		for _, code := range []string{"", "invalid_grant", sentinelWords, sentinelSecret, "invalid_client", "temporarily_unavailable"} {
			w.srv.ClearFaults(providertest.Token)
			w.authorize(m, p, sentinelUser)
			g, err := m.Grant(t.Context(), authprofile.GrantKey{ProfileID: "crm", User: sentinelUser})
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, string(g.AccessToken), string(g.RefreshToken), g.Subject)
			lapse()
			if code != "" {
				w.answers(400, code)
			}
			m.Token(t.Context(), p, as)
			w.collected()
		}
		var rm metricdata.ResourceMetrics
		if err := w.reader.Collect(t.Context(), &rm); err != nil {
			t.Fatal(err)
		}
		exported := lines(w.collected()) + fmt.Sprintf("%+v", rm) + fmt.Sprintf("%+v", w.spans.GetSpans())
		if len(exported) < 5000 {
			t.Errorf("got %d bytes exported, want more", len(exported))
		}
		for _, secret := range secrets {
			if i := strings.Index(exported, secret); i >= 0 {
				t.Errorf("got ...%s..., want nothing of it exported", exported[max(0, i-60):min(len(exported), i+60)])
			}
		}
	})
}
