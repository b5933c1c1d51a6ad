package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// What a page may be and read, at most.
const (
	maxPage    = 100_000 // bytes, with its style and its script
	maxShown   = 50      // records in a list
	maxRecords = 3*(maxShown+1) + 5
	maxLists   = 25 // calls of the Store: "Needs attention" looks for 20 profiles
)

// crowd fills a showroom with more than any page shows, and with texts as long as they can
// be.
func (s *showroom) crowd() {
	s.t.Helper()
	long := func(n int) string { return strings.Repeat("\"Äé<& ", n)[:n/8*8] }
	for i := range 3 * maxShown {
		p := &authprofile.Profile{
			ID: fmt.Sprintf("p%035d", i), Name: long(512), Description: long(4096), Type: authprofile.TypeUser, ClientID: "app", ClientSecret: "secret",
			Endpoints:     authprofile.Endpoints{DiscoveryURL: s.provider.DiscoveryURL()},
			SecretExpires: time.Now().Add(time.Hour),
		}
		s.put(p)
		for j := range 3 {
			s.crowdGrant(p.ID, fmt.Sprintf("%036d", j), j, long(256))
		}
	}
	for j := range 3 * maxShown {
		s.crowdGrant(fmt.Sprintf("p%035d", 0), fmt.Sprintf("u%035d", j), j, long(256))
	}
}

func (s *showroom) crowdGrant(profile, user string, n int, text string) {
	s.t.Helper()
	g := &authprofile.Grant{
		GrantKey: authprofile.GrantKey{ProfileID: profile, User: user}, AccessToken: "a", RefreshToken: "r", Account: text, Subject: text,
		Scopes: []string{text}, Status: authprofile.StatusActive, Ends: time.Now().Add(time.Duration(n) * time.Hour), EndsBy: authprofile.EndsIdle,
	}
	if n%3 > 0 {
		g.Status = []authprofile.Status{authprofile.StatusFailing, authprofile.StatusNeedsReauthorization}[n%3-1]
		g.Failure = &authprofile.Failure{Reason: authprofile.ReasonRevoked, Code: text, Description: text, Since: time.Now()}
	}
	if err := s.store.Store.PutGrant(s.t.Context(), g); err != nil {
		s.t.Fatal(err)
	}
}

// No page is large, and none reads more than it shows and the one record that tells
// whether there are more.
func TestEachPageIsSmallAndReadsLittle(t *testing.T) {
	s := openShowroom(t, " plain")
	s.crowd()
	c := newCrawler(t, s.routes())
	assets := make(map[string]int)
	size := func(page *visit, before string) (n int) {
		for i, rest := range strings.Split(page.body, before) {
			if i == 0 {
				continue
			}
			name, _, _ := strings.Cut(rest, `"`)
			address, _, err := resolve(page.address, name)
			if err != nil {
				t.Fatal(err)
			}
			if assets[address] == 0 {
				v := newCrawler(t, s.routes()).ask(http.MethodGet, address, nil)
				if v.status != http.StatusOK {
					t.Errorf("%s: got status %d, want 200", v, v.status)
				}
				assets[address] = len(v.body)
			}
			n += assets[address]
		}
		return n
	}
	c.crawl(s.pages()...)
	largest := make(map[string]int)
	again := newCrawler(t, s.routes())
	for _, v := range c.visits {
		if !v.isPage() || strings.HasPrefix(v.address, "/callback/") {
			continue
		}
		n := len(v.body) + size(v, `<link rel="stylesheet" href="`) + size(v, `<script src="`)
		largest[pageKind(v.address)] = max(largest[pageKind(v.address)], n)
		if n > maxPage {
			t.Errorf("%s: got %d bytes with style and script, want at most %d", v, n, maxPage)
		}
		s.store.take()
		again.ask(http.MethodGet, v.address, nil)
		lists, calls := s.store.take()
		records := calls["Profile"] + calls["Grant"]
		for _, l := range lists {
			records += l.count
			if l.limit > maxShown+1 {
				t.Errorf("%s: got a call of %s for %d records, want at most %d", v, l.op, l.limit, maxShown+1)
			}
		}
		if records > maxRecords || len(lists) > maxLists {
			t.Errorf("%s: got %d records read, by %v and %v; want at most %d", v, records, lists, calls, maxRecords)
		}
	}
	t.Logf("the largest pages: %v", largest)
}
