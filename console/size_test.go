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
			ID: crowdID(i), Name: long(512), Description: long(4096), Type: authprofile.TypeUser, ClientID: "app", ClientSecret: "secret",
			Endpoints:     authprofile.Endpoints{DiscoveryURL: s.provider.DiscoveryURL()},
			SecretExpires: time.Now().Add(time.Hour),
		}
		s.put(p)
		for j := range 3 {
			s.crowdGrant(p.ID, crowdUser(j), j, long(256))
		}
	}
	for j := range 3 * maxShown {
		s.crowdGrant(crowdID(0), "u"+crowdUser(j), j, long(256))
	}
}

// Half of the identifiers are as UUIDs are, and half as long as they can be.
func crowdID(i int) string {
	id := fmt.Sprintf("p%035d", i)
	if i%100 >= 50 {
		id += strings.Repeat("é", 109)
	}
	return id
}

func crowdUser(i int) string {
	user := fmt.Sprintf("%035d", i)
	if i%2 == 1 {
		user += strings.Repeat("é", 230)
	}
	return user
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
	largest := make(map[string]int)
	c.after = func(v *visit) {
		lists, calls := s.store.take()
		if !v.isPage() {
			return
		}
		n := len(v.body) + size(v, `<link rel="stylesheet" href="`) + size(v, `<script src="`)
		largest[pageKind(v.address)] = max(largest[pageKind(v.address)], n)
		if n > maxPage {
			t.Errorf("%s: got %d bytes with style and script, want at most %d", v, n, maxPage)
		}
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
	c.crawl(s.pages()...)
	t.Logf("the largest pages: %v", largest)
}

// Pages that are cut since their texts are long leave none out.
func TestListsAreComplete(t *testing.T) {
	s := openShowroom(t, " plain")
	s.crowd()
	var want [2]int
	for _, err := range s.manager.Profiles(t.Context()) {
		if err == nil {
			want[0]++
		}
	}
	for _, err := range s.manager.Find(t.Context(), authprofile.GrantFilter{}) {
		if err == nil {
			want[1]++
		}
	}
	for i, start := range []string{"/auth/profiles", "/auth/grants"} {
		c := newCrawler(t, s.routes())
		got, pages := 0, 0
		for address := start; address != ""; pages++ {
			v := c.ask(http.MethodGet, address, nil)
			got += strings.Count(v.body, `<th scope="row"`)
			address = ""
			for _, l := range v.page(t).links {
				if to, _, err := resolve(v.address, l.address); err == nil && strings.HasPrefix(to, start+"?after") && to != v.address { // which is where the link to the content leads
					address = to
				}
			}
		}
		if got != want[i] || start == "/auth/grants" && pages <= want[i]/maxShown+1 {
			t.Errorf("%s: got %d records on %d pages, want %d, and grants on more pages than with short texts", start, got, pages, want[i])
		}
	}
}
