// Package observability has a dashboard and alerts for the metrics of
// otelauthprofile: see README.md.
package observability

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/otelauthprofile"
	"github.com/authprofile/authprofile/providertest"
)

// exported is what a Manager exports: the values of each label of each metric.
type exported map[string]map[string][]string

// export runs a Manager through what there are metrics for, and returns what
// Prometheus gets.
func export(t *testing.T) exported {
	all := make(exported)
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
		if err != nil {
			t.Fatal(err)
		}
		meters := otelauthprofile.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)))
		srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
		store := new(authprofile.MemStore)
		m := &authprofile.Manager{Store: store, HTTPClient: srv.Client(), Trace: otelauthprofile.New(meters)}
		t.Cleanup(func() { m.Shutdown(context.Background()) })
		if _, err := otelauthprofile.ObserveGrants(m, meters); err != nil {
			t.Fatal(err)
		}
		p := &authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{AuthURL: srv.AuthURL(), TokenURL: srv.TokenURL()}, RedirectURL: "https://app.example.com/callback",
			Scopes: []string{"read", "offline_access"}, SecretExpires: time.Now().AddDate(0, 0, 30),
		}
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		ada := authprofile.GrantKey{ProfileID: "crm", User: "ada"}
		change := func(f func(g *authprofile.Grant)) {
			g, err := store.Grant(t.Context(), ada)
			if err != nil {
				t.Fatal(err)
			}
			f(g)
			if err := store.PutGrant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
		token := func() {
			time.Sleep(time.Hour + time.Second)
			m.Token(t.Context(), p, authprofile.AsUser("ada"))
		}

		f, err := m.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		back, err := srv.Authorize(f.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Finish(t.Context(), "ada", back.Query()); err != nil {
			t.Fatal(err)
		}
		token()
		change(func(g *authprofile.Grant) { // by a process that has died
			g.Lease = &authprofile.Lease{Owner: "dead", Attempt: "dead", Length: 5 * time.Second}
		})
		token()
		conflicted := false
		m.HTTPClient.Transport = transport(func(r *http.Request) (*http.Response, error) {
			if !conflicted { // another process changes the grant meanwhile
				conflicted = true
				change(func(*authprofile.Grant) {})
			}
			return srv.Transport().RoundTrip(r)
		})
		m2 := &authprofile.Manager{Store: store, HTTPClient: m.HTTPClient, Trace: m.Trace}
		t.Cleanup(func() { m2.Shutdown(context.Background()) })
		m = m2
		token()
		change(func(g *authprofile.Grant) { g.Ends, g.EndsBy = time.Now().AddDate(0, 0, 7), "announced" })
		synctest.Wait()
		all.gather(t, registry)

		srv.Fault(providertest.Token, providertest.Fault{
			Times: -1, Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":"invalid_grant"}`,
		})
		token()
		synctest.Wait()
		all.gather(t, registry)
	})
	return all
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// gather notes all series that a Prometheus gets of a registry.
func (e exported) gather(t *testing.T, registry *prometheus.Registry) {
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	note := func(name, label, value string) {
		if e[name] == nil {
			e[name] = make(map[string][]string)
		}
		if label != "" && !slices.Contains(e[name][label], value) {
			e[name][label] = append(e[name][label], value)
		}
	}
	for _, family := range families {
		names := []string{family.GetName()}
		for _, m := range family.GetMetric() {
			if m.GetHistogram() != nil {
				names = []string{family.GetName() + "_bucket", family.GetName() + "_sum", family.GetName() + "_count"}
				note(names[0], "le", "+Inf")
			}
			for _, name := range names {
				note(name, "", "")
				for _, l := range m.GetLabel() {
					note(name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// used are the metrics that were seen in queries.
type used map[string]bool

// metricOf returns the metric that a series belongs to: a histogram has three.
func metricOf(series string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, ok := strings.CutSuffix(series, "_seconds"+suffix); ok {
			return name + "_seconds"
		}
	}
	return series
}

// check fails if a query names a metric, a label or a value that is not exported.
func (e exported) check(t *testing.T, where, query string, u used) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v\n%s", where, err, query)
		return
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			if e[node.Name] == nil {
				t.Errorf("%s: got metric %q, want one that is exported", where, node.Name)
				break
			}
			u[metricOf(node.Name)] = true
			for _, m := range node.LabelMatchers {
				if m.Name == model.MetricNameLabel {
					continue
				}
				values := e[node.Name][m.Name]
				if values == nil {
					t.Errorf("%s: got label %q of %s, want one that is exported", where, m.Name, node.Name)
				} else if !slices.ContainsFunc(values, m.Matches) {
					t.Errorf("%s: got %s, want it to match one of %q", where, m, values)
				}
			}
		case *parser.AggregateExpr:
			e.checkLabels(t, where, node.Expr, node.Grouping)
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				e.checkLabels(t, where, node, node.VectorMatching.MatchingLabels)
			}
		}
		return nil
	})
}

// checkLabels wants all metrics in an expression to have the labels.
func (e exported) checkLabels(t *testing.T, where string, expr parser.Expr, names []string) {
	t.Helper()
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			for _, name := range names {
				if e[v.Name][name] == nil {
					t.Errorf("%s: got label %q of %s, want one that is exported", where, name, v.Name)
				}
			}
		}
		return nil
	})
}

var shown = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}`)

// checkText wants the labels that a text shows to be what the query leaves of
// them: those that its outermost aggregation groups by.
func checkText(t *testing.T, where, text, query string) {
	t.Helper()
	for _, m := range shown.FindAllStringSubmatch(text, -1) {
		grouping := regexp.MustCompile(`by \([^)]*\b` + m[1] + `\b[^)]*\)`)
		if !grouping.MatchString(query) {
			t.Errorf("%s: got label %q in the text %q, want one that the query groups by", where, m[1], text)
		}
	}
}

// wantAll wants every metric of otelauthprofile to have been used.
func (e exported) wantAll(t *testing.T, u used) {
	t.Helper()
	metrics := make(used)
	for series := range e {
		if name := metricOf(series); strings.HasPrefix(name, "authprofile_") {
			metrics[name] = true
		}
	}
	for name := range metrics {
		if !u[name] {
			t.Errorf("got no use of %s, want one", name)
		}
	}
	if len(metrics) != 8 {
		t.Errorf("got %d metrics exported, want 8", len(metrics))
	}
}

func TestRules(t *testing.T) {
	e, u := export(t), make(used)
	text, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	alerts := 0
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			alerts++
			if r.Alert == "" || r.For == 0 || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("got %+v, want an alert with for, a severity, a summary and a description", r)
			}
			e.check(t, r.Alert, r.Expr, u)
			for _, text := range r.Annotations {
				checkText(t, r.Alert, text, r.Expr)
			}
		}
	}
	if alerts < 8 {
		t.Errorf("got %d alerts, want more", alerts)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if !strings.Contains(string(readme), r.Alert) {
				t.Errorf("got no word about %s in README.md, want what to do", r.Alert)
			}
		}
	}
	e.wantAll(t, u)
}

func TestDashboard(t *testing.T) {
	e, u := export(t), make(used)
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID          int
			Title       string
			Description string
			Targets     []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$profile", ".*")
	ids := make(map[int]bool)
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("%s: got %+v, want a panel with an ID of its own, a description and a query", p.Title, p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			e.check(t, p.Title, variables.Replace(target.Expr), u)
			checkText(t, p.Title, target.LegendFormat, target.Expr)
		}
	}
	e.wantAll(t, u)

	values := regexp.MustCompile(`label_values\((\w+), (\w+)\)`)
	queries := 0
	for _, v := range dashboard.Templating.List {
		for _, m := range values.FindAllStringSubmatch(string(v.Query), -1) {
			queries++
			if e[m[1]][m[2]] == nil {
				t.Errorf("variable %s: got label %q of %s, want one that is exported", v.Name, m[2], m[1])
			}
		}
	}
	if queries != 1 {
		t.Errorf("got %d queries of variables, want one", queries)
	}
}
