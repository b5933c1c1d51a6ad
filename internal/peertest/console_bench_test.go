package peertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

// BenchmarkConsole asks for each page of the console, over a thousand profiles and
// over a million, each with three grants, on PostgreSQL: a page should take no more
// than twice as long. It prints the medians.
//
//	go test -run '^$' -bench Console -benchtime 1x -rows 1000000 -timeout 1h .
func BenchmarkConsole(b *testing.B) {
	const users = 3
	profile := func(n int) string { return fmt.Sprintf("p%09d", rand.N(n)) }
	user := func() string { return fmt.Sprintf("user-%d", rand.N(users)) }
	q := func(page string, query ...string) string {
		values := make(url.Values)
		for i := 0; i < len(query); i += 2 {
			values.Set(query[i], query[i+1])
		}
		return page + "?" + values.Encode()
	}
	pages := []struct {
		name    string
		address func(n int) string
	}{
		{"overview", func(int) string { return "/auth/" }},
		{"needs attention", func(int) string { return "/auth/attention" }},
		{"profiles", func(int) string { return "/auth/profiles" }},
		{"profiles, after one", func(n int) string { return q("/auth/profiles", "after", profile(n)) }},
		{"profiles, from an ID", func(n int) string { return q("/auth/profiles", "from", profile(n)) }},
		{"profile", func(n int) string { return q("/auth/profile", "id", profile(n)) }},
		{"delete profile", func(n int) string { return q("/auth/delete-profile", "id", profile(n)) }},
		{"new profile", func(int) string { return "/auth/new-profile" }},
		{"grants", func(int) string { return "/auth/grants" }},
		{"grants, after one", func(n int) string { return q("/auth/grants", "after_profile", profile(n), "after_user", user()) }},
		{"grants, the last page", func(n int) string {
			return q("/auth/grants", "after_profile", fmt.Sprintf("p%09d", n-5), "after_user", user())
		}},
		{"grants, of a profile", func(n int) string { return q("/auth/grants", "profile", profile(n)) }},
		{"grants, of a user", func(n int) string {
			return q("/auth/grants", "user", user(), "after_profile", profile(n), "after_user", "user-2")
		}},
		{"grants, of no user", func(int) string { return q("/auth/grants", "user", "nobody") }},
		{"grants, active", func(n int) string {
			return q("/auth/grants", "status", "active", "after_profile", profile(n), "after_user", user())
		}},
		{"grants, retrying", func(int) string { return q("/auth/grants", "status", "failing") }},
		{"grants, need a user", func(int) string { return q("/auth/grants", "status", "needs_reauthorization") }},
		{"grants, need an administrator", func(int) string { return q("/auth/grants", "status", "needs_configuration") }},
		{"grants, active of a user", func(n int) string {
			return q("/auth/grants", "status", "active", "user", user(), "after_profile", profile(n), "after_user", "user-2")
		}},
		{"grants, retrying of a user", func(int) string { return q("/auth/grants", "status", "failing", "user", user()) }},
		{"grants, end within a day", func(int) string { return q("/auth/grants", "days", "1") }},
		{"grants, end within 30 days", func(int) string { return q("/auth/grants", "days", "30") }},
		{"grants, end within 10 years", func(int) string { return q("/auth/grants", "days", "3650") }},
		{"grants, retrying, end within 30 days", func(int) string { return q("/auth/grants", "status", "failing", "days", "30") }},
		{"grants, of a user, end within 30 days", func(int) string { return q("/auth/grants", "user", user(), "days", "30") }},
		{"grant", func(n int) string { return q("/auth/grant", "profile", profile(n), "user", user()) }},
		{"revoke", func(n int) string { return q("/auth/revoke", "profile", profile(n), "user", user()) }},
		{"providers", func(int) string { return "/auth/providers" }},
		{"provider", func(int) string { return q("/auth/provider", "name", "github") }},
		{"connections", func(int) string { return "/connections/" }},
	}
	const times = 41
	sizes := []int{1000, *rows}
	var consoles [2]http.Handler
	for i, n := range sizes {
		s, db := postgres.new(b)
		fillTables(b, postgres, s, db, n)
		consoles[i] = benchConsole(b, s)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-40s%12d%12d%8s%40s\n", "page", sizes[0], sizes[1], "", "the first request took")
	for _, page := range pages {
		var took [2][]time.Duration
		for range times + 1 {
			for i, n := range sizes { // by turns, so that both are measured while the machine has as much else to do
				r := httptest.NewRequest(http.MethodGet, "https://app.example.com"+page.address(n), nil)
				w := httptest.NewRecorder()
				start := time.Now()
				consoles[i].ServeHTTP(w, r)
				took[i] = append(took[i], time.Since(start))
				if w.Code != http.StatusOK {
					b.Fatalf("%s: got status %d, want 200:\n%s", page.address(n), w.Code, w.Body)
				}
			}
		}
		first := [2]time.Duration{took[0][0], took[1][0]}
		var median [2]time.Duration
		for i := range took {
			slices.Sort(took[i][1:])
			median[i] = took[i][1+times/2]
		}
		const unit = 10 * time.Microsecond
		fmt.Fprintf(&table, "%-40s%12v%12v%7.1fx%20v%20v\n", page.name, median[0].Round(unit), median[1].Round(unit),
			float64(median[1])/float64(median[0]), first[0].Round(unit), first[1].Round(unit))
	}
	fmt.Print(table.String())
}

// benchConsole is a console over a Store, at /auth/, and connections of users at
// /connections/.
func benchConsole(b *testing.B, s authprofile.Store) http.Handler {
	m := &authprofile.Manager{Store: s, RedirectURL: "https://app.example.com/callback/{profile}"}
	b.Cleanup(func() { m.Shutdown(context.Background()) })
	name := func(*http.Request) (string, error) { return "user-1", nil }
	redirect := &authprofile.RedirectHandler{Manager: m, User: name}
	mux := http.NewServeMux()
	mux.Handle("/auth/", http.StripPrefix("/auth", &console.Handler{Manager: m, Operator: name, Redirect: redirect}))
	mux.Handle("/connections/", http.StripPrefix("/connections", &console.Connections{Redirect: redirect, Profiles: []string{"p000000001", "p000000002", "p000000007"}}))
	return mux
}
