package issuer

import "testing"

const contoso = "72f988bf-86f1-41af-91ab-2d7cd011db47"

func TestMatches(t *testing.T) {
	const pattern = "https://login.microsoftonline.com/{tenantid}/v2.0"
	for _, test := range []struct {
		expected, got string
		want          bool
	}{
		{"https://a.test", "https://a.test", true},
		{"https://a.test", "https://a.test/", false},
		{"https://a.test", "https://A.test", false},
		{"https://a.test", "", false},
		{pattern, "https://login.microsoftonline.com/" + contoso + "/v2.0", true},
		{pattern, "https://login.microsoftonline.com/" + contoso + "/v2.0/", false},
		{pattern, "https://login.microsoftonline.com/contoso.com/v2.0", false},
		{pattern, "https://login.microsoftonline.com/v2.0", false},
		{pattern, pattern, false},
	} {
		if got := Matches(test.expected, test.got); got != test.want {
			t.Errorf("%q, %q: got %t, want %t", test.expected, test.got, got, test.want)
		}
	}
}

func TestFitsDocument(t *testing.T) {
	for _, test := range []struct {
		document, name string
		want           bool
	}{
		{"https://a.test/t" + WellKnownOpenID, "https://a.test/t", true},
		{"https://a.test/t" + WellKnownOpenID, "https://a.test/t/", true},
		{"https://a.test/t" + WellKnownOpenID, "https://a.test/u", false},
		{"https://a.test" + WellKnownOpenID + "/t", "https://a.test/t", true},
		{"https://a.test" + WellKnownOAuth + "/t", "https://a.test/t", true},
		{"https://a.test" + WellKnownOAuth + "/t", "https://a.test", false},
		{"https://a.test/t" + WellKnownOAuth, "https://a.test/u", true}, // no standard derives that address
		{"https://a.test/x", "https://a.test/u", true},
		{"https://a.test/x", "https://b.test/x", false},
	} {
		if got := FitsDocument(test.document, test.name); got != test.want {
			t.Errorf("%q at %q: got %t, want %t", test.name, test.document, got, test.want)
		}
	}
}

func TestIsGUID(t *testing.T) {
	for s, want := range map[string]bool{
		contoso:                                  true,
		"72F988BF-86F1-41AF-91AB-2D7CD011DB47":   true,
		"":                                       false,
		"72f988bf86f141af91ab2d7cd011db47":       false,
		"{" + contoso + "}":                      false,
		"urn:uuid:" + contoso:                    false,
		"72f988bf-86f1-41af-91ab-2d7cd011db4":    false,
		"72f988bf-86f1-41af-91ab-2d7cd011db4g":   false,
		"72f988bf-86f1-41af-91ab02d7cd011db47":   false,
		"72f988bf--6f1-41af-91ab-2d7cd011db47":   false,
		"72f988bf/86f1/41af/91ab/2d7cd011db47":   false,
		"72f988bf-86f1-41af-91ab-2d7cd011db47\n": false,
	} {
		if got := IsGUID(s); got != want {
			t.Errorf("%q: got %t, want %t", s, got, want)
		}
	}
}

// The providers that can be told apart: one by its document, one whose document
// stands for all tenants, one with an alias, and one by its addresses alone.
var (
	document  = Issuer{Name: "https://a.test/t", Origin: "https://token.a.test"}
	tenants   = Issuer{Name: "https://m.test/{tenantid}/v2.0", Origin: "https://m.test"}
	aliased   = Issuer{Name: "https://g.test", Aliases: []string{"g.test"}, Origin: "https://oauth2.g.test"}
	addresses = Issuer{Origin: "https://token.a.test"}
	moved     = Issuer{Origin: "https://new.test", FormerOrigins: []string{"https://old.test"}}
)

const ofContoso = "https://m.test/" + contoso + "/v2.0"

func TestSigned(t *testing.T) {
	for _, test := range []struct {
		issuer       Issuer
		name, tenant string
		want         bool
	}{
		{document, "https://a.test/t", "", true},
		{document, "https://a.test/t", "a tenant", true},
		{document, "https://a.test/t/", "", false},
		{document, "https://token.a.test", "", false},
		{document, "", "", false},
		{tenants, ofContoso, contoso, true},
		{tenants, ofContoso, "", false},
		{tenants, ofContoso, "9188040d-6c67-4c5b-b112-36a304b66dad", false},
		{tenants, tenants.Name, EachTenant, false},
		{tenants, "https://m.test/x/v2.0", "x", false},
		{aliased, "https://g.test", "", true},
		{aliased, "g.test", "", true},
		{aliased, "http://g.test", "", false},
		{addresses, "https://anything.test", "", true},
	} {
		if got := test.issuer.Signed(test.name, test.tenant); got != test.want {
			t.Errorf("%q by %+v, tenant %q: got %t, want %t", test.name, test.issuer, test.tenant, got, test.want)
		}
	}
}

// What a grant remembers, and what a later ID token of it must name.
func TestRecorded(t *testing.T) {
	for _, test := range []struct {
		name, claimed string
		issuer        Issuer
		canonical     string
		recorded      string
		later         string
	}{
		{"a document", "https://a.test/t", document, "https://a.test/t", "https://a.test/t", "https://a.test/t"},
		{"a document, without an ID token", "", document, "https://a.test/t", "https://a.test/t", "https://a.test/t"},
		{"a tenant", ofContoso, tenants, ofContoso, ofContoso, ofContoso},
		{"tenants, without an ID token", "", tenants, "", "https://m.test", ""},
		{"an alias", "g.test", aliased, "https://g.test", "https://g.test", "https://g.test"},
		{"addresses", "", addresses, "", "https://token.a.test", ""},
		{"addresses, and a token of that origin", "https://token.a.test/t", addresses, "https://token.a.test/t", "https://token.a.test/t", "https://token.a.test/t"},
		{"addresses, and a token that names the origin", "https://token.a.test", addresses, "https://token.a.test", "https://token.a.test", ""},
		{"addresses, and a token of another origin", "https://a.test/t", addresses, "https://a.test/t", "https://token.a.test", ""},
	} {
		canonical := test.issuer.Canonical(test.claimed)
		if canonical != test.canonical {
			t.Errorf("%s: got %q, want it spelt %q", test.name, canonical, test.canonical)
		}
		recorded := test.issuer.Recorded(canonical)
		if test.claimed == "" {
			recorded = test.issuer.Default()
		}
		if recorded != test.recorded {
			t.Errorf("%s: got %q recorded, want %q", test.name, recorded, test.recorded)
		}
		if got := test.issuer.Claimed(recorded); got != test.later {
			t.Errorf("%s: got %q to be claimed later, want %q", test.name, got, test.later)
		}
		if !test.issuer.Issued(recorded, false) {
			t.Errorf("%s: got another provider's, want the grant known again", test.name)
		}
	}
}

func TestIssued(t *testing.T) {
	for _, test := range []struct {
		issuer   Issuer
		recorded string
		renewed  bool
		want     bool
	}{
		{document, "", false, true},
		{document, "https://a.test/t", false, true},
		{document, "https://a.test/t/", false, true},
		{document, "https://token.a.test", false, true}, // from when the addresses were typed in
		{document, "https://a.test", false, false},
		{document, "https://b.test/t", true, false},
		{tenants, ofContoso, false, true},
		{tenants, "https://m.test/x/v2.0", false, false},
		{aliased, "g.test", false, true},
		{aliased, "h.test", false, false},
		{addresses, "https://token.a.test/t", false, true},
		{addresses, "https://a.test/t", false, false},
		{addresses, "https://a.test/t", true, true},
		{moved, "https://new.test", false, true},
		{moved, "https://old.test", false, true},
		{moved, "https://old.test/t", false, true}, // the issuer that an ID token named there
		{moved, "https://older.test/t", false, false},
	} {
		if got := test.issuer.Issued(test.recorded, test.renewed); got != test.want {
			t.Errorf("%q by %+v, renewed %t: got %t, want %t", test.recorded, test.issuer, test.renewed, got, test.want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, test := range []struct {
		before, after string
		want          bool
	}{
		{"https://a.test/t", "https://a.test/t", true},
		{"https://token.a.test", "https://a.test/t", true},
		{"https://a.test/t", "https://token.a.test", false},
		{"https://b.test", "https://a.test/t", false},
		{"", "https://a.test/t", false},
	} {
		if got := document.Same(test.before, test.after); got != test.want {
			t.Errorf("%q, then %q: got %t, want %t", test.before, test.after, got, test.want)
		}
	}
}

func TestIsAnotherAccount(t *testing.T) {
	for _, test := range []struct {
		name          string
		issuer        Issuer
		before, after Account
		want          bool
	}{
		{"the same", document, Account{"https://a.test/t", "ada"}, Account{"https://a.test/t", "ada"}, false},
		{"another", document, Account{"https://a.test/t", "ada"}, Account{"https://a.test/t", "bob"}, true},
		{"not known before", document, Account{"https://a.test/t", ""}, Account{"https://a.test/t", "bob"}, false},
		{"not known now", document, Account{"https://a.test/t", "ada"}, Account{"https://a.test/t", ""}, false},
		{"another provider before", document, Account{"https://b.test", "ada"}, Account{"https://a.test/t", "bob"}, false},
		{"typed in before, the same", document, Account{"https://token.a.test", "ada"}, Account{"https://a.test/t", "ada"}, false},
		{"typed in before, another", document, Account{"https://token.a.test", "ada"}, Account{"https://a.test/t", "bob"}, true},
		{"the same name in another tenant", tenants, Account{ofContoso, "ada"}, Account{"https://m.test/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", "ada"}, true},
		{"typed in, another", addresses, Account{"https://token.a.test/t", "ada"}, Account{"https://token.a.test/t", "bob"}, true},
		{"before it moved, the same", moved, Account{"https://old.test", "ada"}, Account{"https://new.test", "ada"}, false},
		{"before it moved, another", moved, Account{"https://old.test", "ada"}, Account{"https://new.test", "bob"}, true},
		{"before it moved, another of its issuer", moved, Account{"https://old.test/t", "ada"}, Account{"https://new.test/t", "bob"}, true},
		{"typed in, another issuer", addresses, Account{"https://b.test", "ada"}, Account{"https://token.a.test/t", "bob"}, false},
	} {
		if got := test.issuer.IsAnotherAccount(test.before, test.after); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

// The ID tokens of a provider that has moved need not name where it was.
func TestClaimedOfOneThatHasMoved(t *testing.T) {
	for recorded, want := range map[string]string{
		"https://old.test": "", "https://old.test/t": "", "https://new.test": "", "https://new.test/t": "https://new.test/t",
	} {
		if got := moved.Claimed(recorded); got != want {
			t.Errorf("recorded %q: got %q to be claimed, want %q", recorded, got, want)
		}
	}
}
