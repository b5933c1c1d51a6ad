package authprofile_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A threat is one attack, or one bad input, that a client must withstand. It
// is met by the tests that have its number: in their name, TestThreat067 or
// TestThreat067_Redirects, or at the beginning of the name of a subtest, as in
// "067 redirects" or "067, 089 redirects".
type threat struct {
	name string

	// tests are the names of further tests that meet it, without a number.
	tests string

	// duty names the definitions whose documentation leaves the rest to the
	// application, or says what was chosen: "Manager.Finish" of this package,
	// "egress.NewClient" of another one, "egress" for all of a package. What
	// comes after a colon is in the documentation.
	duty []string

	// absent says which part is missing for the threat to concern us.
	absent string
}

var threats = [...]threat{
	1:  {name: "state that was never issued"},
	2:  {name: "no state at all"},
	3:  {name: "state replayed in another browser"},
	4:  {name: "authorization URL sent to a victim", duty: []string{"Manager.Begin: logged in", "examples/web.site.user: the session"}},
	5:  {name: "code and state forwarded by the application", duty: []string{"Manager.Finish: the browser"}},
	6:  {name: "state used twice"},
	7:  {name: "expired flow"},
	8:  {name: "guessable state, nonce or verifier"},
	9:  {name: "state chosen by the caller"},
	10: {name: "identity inside the state"},
	11: {name: "timing of the comparison of states"},
	12: {name: "checks that a build leaves out"},
	13: {name: "characters of the state"},
	14: {name: "duplicate parameters of a callback"},
	15: {name: "denied consent with a wrong state"},
	16: {name: "hostile error texts"},
	17: {name: "hostile error_uri"},
	18: {name: "callback by POST, HEAD or prefetch"},
	19: {name: "tokens in a callback"},
	20: {name: "unknown parameters of a callback"},
	21: {name: "huge callback"},
	22: {name: "endless beginnings", duty: []string{"Manager.Begin: to limit"}},
	23: {name: "flow begun by another site", duty: []string{"RedirectHandler.Begin: another site", "examples/web.newSite: by POST"}},
	24: {name: "attributes of the cookie"},
	25: {name: "forged Host header"},
	26: {name: "page to return to on another site"},
	27: {name: "redirect that posts again"},
	28: {name: "callback page that leaks the code", tests: "TestRedirectHandler TestPages TestThreat027_RedirectsAre303"},
	29: {name: "callback at another path"},
	30: {name: "session kept after login", duty: []string{"RedirectHandler.Done: new session", "examples/web.site.login: new session"}},
	31: {name: "loopback listener of a command-line program", absent: "there is no such listener"},
	32: {name: "authorization endpoint that is a command"},
	33: {name: "authorization endpoint with a query or a fragment"},
	34: {name: "control characters in the client's ID, secret and address"},

	35: {name: "mix-up: answer of another provider"},
	36: {name: "iss that was not announced, and is wrong"},
	37: {name: "error without the announced iss"},
	38: {name: "providers that do not name themselves", duty: []string{"Manager.RedirectURL: its own address"}},
	39: {name: "honest provider's code for a malicious one"},
	40: {name: "context in the redirect address alone"},
	41: {name: "registration shared by profiles", duty: []string{"Profile: share a registration"}},
	42: {name: "injected code"},
	43: {name: "PKCE stripped from the request", duty: []string{"Manager.Begin: scope openid"}},
	44: {name: "provider without S256"},
	45: {name: "form of the verifier"},
	46: {name: "another redirect_uri in the token request"},
	47: {name: "code exchanged twice"},
	48: {name: "other response types"},
	49: {name: "flow that completes without a browser", absent: "there is no device or command-line flow: all end in a browser, at Finish"},

	50: {name: "issuer of another document"},
	51: {name: "malformed issuer"},
	52: {name: "redirected discovery", tests: "TestGoOIDC_RedirectsAreNotFollowed"},
	53: {name: "poisoned discovery document"},
	54: {name: "endpoints that are no addresses", tests: "TestGoOIDC_AddressesOfOtherSchemes"},
	55: {name: "requests to internal addresses", duty: []string{"egress: server-side request forgery", "Manager.HTTPClient: package egress"}},
	56: {name: "addresses inside tokens"},
	57: {name: "endless documents", tests: "TestGoOIDC_DocumentsAreBounded"},
	58: {name: "documents that are none"},
	59: {name: "both places of a discovery document"},
	60: {name: "documents that go away"},
	61: {name: "unknown key IDs", tests: "TestConformance_FloodOfUnknownKeys"},
	62: {name: "odd key sets"},
	63: {name: "bad certificates"},
	64: {name: "plain HTTP"},
	65: {name: "mtls_endpoint_aliases"},
	66: {name: "what the provider does not support"},

	67:  {name: "redirected token request", tests: "TestOAuth2_SecretsAreNotPostedElsewhere"},
	68:  {name: "provider that never answers", tests: "TestProviderThatHangsStopsNoOther"},
	69:  {name: "endless answer"},
	70:  {name: "error with status 200"},
	71:  {name: "no access token"},
	72:  {name: "answers that are none"},
	73:  {name: "duplicate members"},
	74:  {name: "deep and huge JSON"},
	75:  {name: "access token that is no header value", tests: "TestOAuth2_LineBreaksInTokens"},
	76:  {name: "odd expires_in", tests: "TestOAuth2_OddLifetimesLoseNothing TestUnknownLifetime TestOddLifetimesMakeNoStorm"},
	77:  {name: "lifetime that a slow answer shortens"},
	78:  {name: "clock that jumps", tests: "TestWallClockJumps"},
	79:  {name: "token types"},
	80:  {name: "granted scopes"},
	81:  {name: "scope of a renewal"},
	82:  {name: "characters of a scope"},
	83:  {name: "unknown members"},
	84:  {name: "provider that is not available", tests: "TestRetryAfterIsObeyed"},
	85:  {name: "outage that hides a dead grant", duty: []string{"Failure: by Since"}},
	86:  {name: "connection reset", tests: "TestLostAnswer"},
	87:  {name: "client secret that was changed", tests: "TestCorrectedSecretHealsAtTheNextCall"},
	88:  {name: "ways to say that a grant is dead", tests: "TestFailures TestRefusedGrantInCompany TestDeadGrantMakesOneRequest"},
	89:  {name: "request sent again by net/http"},
	90:  {name: "proxies", duty: []string{"Manager.HTTPClient: the proxy", "egress: no proxy"}},
	91:  {name: "special characters of the client's credentials"},
	92:  {name: "probing for the client authentication", tests: "TestOAuth2_RefreshTokensAreNotSentTwice"},
	93:  {name: "two client authentications"},
	94:  {name: "secret in an address"},
	95:  {name: "public client"},
	96:  {name: "audience of private_key_jwt", absent: "private_key_jwt is not built"},
	97:  {name: "assertion used twice", absent: "private_key_jwt is not built"},
	98:  {name: "client certificate that rotates", absent: "tls_client_auth is not built"},
	99:  {name: "self-signed client certificate", absent: "self_signed_tls_client_auth is not built"},
	100: {name: "secret that rotates during a request"},

	101: {name: "algorithm of an ID token"},
	102: {name: "bad signature"},
	103: {name: "iss"},
	104: {name: "aud"},
	105: {name: "azp"},
	106: {name: "exp, iat and nbf"},
	107: {name: "nonce"},
	108: {name: "sub", tests: "TestConformance_UserInfoIsNotUsed"},
	109: {name: "at_hash and c_hash"},
	110: {name: "max_age"},
	111: {name: "ID token of a renewal"},
	112: {name: "bad ID token of a renewal", tests: "TestConformance_IDTokenOfARenewal TestBadIDTokenOnRefresh TestTokenIsStoredBeforeTheIDTokenIsVerified"},
	113: {name: "malformed ID tokens"},
	114: {name: "access token read as a JWT"},
	115: {name: "identity by e-mail address"},
	116: {name: "another account comes back"},

	117: {name: "many callers at expiry", tests: "TestFleetRenewsOncePerExpiry TestThousandGoroutinesOneRequest"},
	118: {name: "lease won after another has renewed", tests: "TestSecondLook TestOneOfManyProcessesAsks"},
	119: {name: "answer without a refresh token", tests: "TestAnswersWithoutARefreshTokenKeepTheOldOne"},
	120: {name: "empty refresh token", tests: "TestAnswersWithoutARefreshTokenKeepTheOldOne"},
	121: {name: "late writer", tests: "TestConflictsAreJudgedByTokens TestLateFailureDoesNotOverwrite"},
	122: {name: "process that is stopped and goes on", tests: "TestStoppedProcessDoesNotSend TestStoppedProcessDoesNotOverwrite"},
	123: {name: "process that is killed", tests: "TestDeadProcessIsSucceeded TestInterruptedRenewalSaysSo"},
	124: {name: "invalid_grant because another was first", tests: "TestInvalidGrantBecauseAnotherProcessWasFirst"},
	125: {name: "store that goes away after the answer", tests: "TestStoreGoesAwayAfterTheAnswer TestSlowStore"},
	126: {name: "caller that hangs up", tests: "TestCallerHangsUp TestContextOfTheCallerKeepsItsValuesAndNotItsEnd"},
	127: {name: "grant that ends during its renewal", tests: "TestGrantEndsDuringItsRenewal"},
	128: {name: "API that refuses a valid token", tests: "TestRejectedToken TestRejectedTokenThatAnotherProcessHasReplaced"},
	129: {name: "life shorter than RenewBefore", tests: "TestShortLifetime"},
	130: {name: "thundering herd", tests: "TestManyTokensEndAtOnce TestProviderThatIsDownForAnHour TestBackoffGrowsAndIsNeverTheSame"},
	131: {name: "end of the refresh token", duty: []string{"Grant.RefreshExpiry"}},
	132: {name: "tokens at rest"},
	133: {name: "identifiers that are SQL, or are folded", tests: "TestBrokenStores"},
	134: {name: "crash between the flow and the grant"},

	135: {name: "secrets in errors, logs, JSON and panics", tests: "TestSecretShowsItself TestOAuth2_BodiesAreNotInErrors"},
	136: {name: "secrets in the errors of requests"},
	137: {name: "secrets in dumps", tests: "TestProfileJSON"},
	138: {name: "secrets in traces and metrics"},
	139: {name: "token for another host"},
	140: {name: "access token in an address", tests: "TestClientSendsAToken"},
}

func TestEveryThreatHasATest(t *testing.T) {
	numbered, names := testsOfRepository(t)
	documented := make(map[string]*doc.Package)
	if len(threats) != 141 {
		t.Errorf("got %d rows, want 140", len(threats)-1)
	}
	for number, row := range threats {
		if number == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%03d %s", number, row.name), func(t *testing.T) {
			found := numbered[number]
			for name := range strings.FieldsSeq(row.tests) {
				if !names[name] {
					t.Errorf("got no test %s", name)
				}
				if !slices.Contains(found, name) {
					found = append(found, name)
				}
			}
			for _, d := range row.duty {
				checkDuty(t, documented, d)
			}
			switch {
			case row.name == "":
				t.Error("got no name")
			case len(found) == 0 && row.absent == "":
				t.Error("got no test that meets it")
			case len(found) > 0 && row.absent != "":
				t.Errorf("got %q, though %s", found, row.absent)
			}
		})
	}
}

// checkDuty looks for a definition with documentation that has the words of the
// duty in it, however it is wrapped. The packages that were read before are in
// documented, by their directories.
func checkDuty(t *testing.T, documented map[string]*doc.Package, duty string) {
	t.Helper()
	definition, words, _ := strings.Cut(duty, ": ")
	dir, name := ".", definition
	if !ast.IsExported(definition) {
		i := strings.LastIndex(definition, "/") + 1
		last, inside, _ := strings.Cut(definition[i:], ".")
		dir, name = definition[:i]+last, inside
	}
	if _, err := os.Stat("examples"); err != nil && strings.HasPrefix(dir, "examples/") {
		return // the examples are a module of their own, and do not come with this one
	}
	if documented[dir] == nil {
		fset := token.NewFileSet()
		files := slices.Collect(maps.Values(packageFiles(t, fset, dir)))
		if len(files) == 0 {
			t.Fatalf("%s: got no package in %s", definition, dir)
		}
		p, err := doc.NewFromFiles(fset, files, path.Join(modulePath, dir), doc.AllDecls)
		if err != nil {
			t.Fatal(err)
		}
		documented[dir] = p
	}
	text, ok := documentation(documented[dir], name)
	if !ok {
		t.Errorf("got no %s, want the definition", definition)
		return
	}
	if text = strings.Join(strings.Fields(text), " "); text == "" || !strings.Contains(text, words) {
		t.Errorf("%s: got documentation %q, want some with %q in it", definition, text, words)
	}
}

// documentation returns that of a package, of a function or type in it, or of a
// method or field of a type, and reports whether there is such a definition.
func documentation(p *doc.Package, name string) (text string, ok bool) {
	if name == "" {
		return p.Doc, true
	}
	funcs := slices.Clone(p.Funcs)
	name, member, _ := strings.Cut(name, ".")
	for _, typ := range p.Types {
		funcs = append(funcs, typ.Funcs...)
		switch {
		case typ.Name != name:
			continue
		case member == "":
			return typ.Doc, true
		}
		for _, m := range typ.Methods {
			if m.Name == member {
				return m.Doc, true
			}
		}
		ast.Inspect(typ.Decl, func(n ast.Node) bool {
			if f, isField := n.(*ast.Field); isField && slices.ContainsFunc(f.Names, func(id *ast.Ident) bool { return id.Name == member }) {
				text, ok = f.Doc.Text()+f.Comment.Text(), true
			}
			return !ok
		})
		return text, ok
	}
	for _, f := range funcs {
		if f.Name == name && member == "" {
			return f.Doc, true
		}
	}
	return "", false
}

var (
	threatTest    = regexp.MustCompile(`^TestThreat((?:\d{3}_)*\d{3})(?:_|$)`)
	threatSubtest = regexp.MustCompile(`^((?:\d{3}, )*\d{3}) `)
	digits        = regexp.MustCompile(`\d{3}`)
)

// testsOfRepository returns the tests of all modules of the repository: those
// of each threat, and all of them by name.
func testsOfRepository(t *testing.T) (numbered map[int][]string, names map[string]bool) {
	t.Helper()
	numbered, names = make(map[int][]string), make(map[string]bool)
	add := func(match []string, where string) {
		if match == nil {
			return
		}
		for _, d := range digits.FindAllString(match[1], -1) {
			number, err := strconv.Atoi(d)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(numbered[number], where) {
				numbered[number] = append(numbered[number], where)
			}
		}
	}
	for _, name := range sources(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			where := name
			if f, ok := decl.(*ast.FuncDecl); ok {
				where = f.Name.Name
				if f.Recv == nil && strings.HasPrefix(where, "Test") {
					names[where] = true
					add(threatTest.FindStringSubmatch(where), where)
				}
			}
			for _, subtest := range subtestNames(decl) {
				add(threatSubtest.FindStringSubmatch(subtest), where)
			}
		}
	}
	return numbered, names
}

// subtestNames returns the texts in a declaration that are names of subtests:
// those in the first argument of Run, or of a function run that passes it on,
// and those that name the rows of tables. The name of a row is the key of a
// map, the field "name", or the first of its fields.
func subtestNames(decl ast.Decl) (texts []string) {
	add := func(e ast.Expr) {
		ast.Inspect(e, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					texts = append(texts, text)
				}
			}
			_, isFunc := n.(*ast.FuncLit)
			return !isFunc
		})
	}
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			id, ok := n.Fun.(*ast.Ident)
			if sel, isSelector := n.Fun.(*ast.SelectorExpr); isSelector {
				id, ok = sel.Sel, true
			}
			if ok && (id.Name == "Run" || id.Name == "run") && len(n.Args) > 0 {
				add(n.Args[0])
			}
		case *ast.CompositeLit:
			_, isMap := n.Type.(*ast.MapType)
			_, isList := n.Type.(*ast.ArrayType)
			for i, e := range n.Elts {
				kv, keyed := e.(*ast.KeyValueExpr)
				switch {
				case keyed && isMap:
					add(kv.Key)
				case keyed:
					if id, ok := kv.Key.(*ast.Ident); ok && id.Name == "name" {
						add(kv.Value)
					}
				case i == 0 && !isList:
					add(e)
				}
			}
		}
		return true
	})
	return texts
}

func TestNamesOfSubtests(t *testing.T) {
	const source = `package p

func Test(t *testing.T) {
	for key := range map[string]int{"map": 1} {
		t.Run(key+" plus", nil)
	}
	for _, test := range []struct{ name, other string }{{"row", "no"}, {name: "field", other: "no"}} {
		t.Run(fmt.Sprintf("format %s", test.name), func(t *testing.T) { t.Error("no") })
	}
	run("function", func() { t.Error("no") })
	with("no", []string{"no"})
}`
	file, err := parser.ParseFile(token.NewFileSet(), "p_test.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := subtestNames(file.Decls[0])
	if want := []string{"map", " plus", "row", "field", "format %s", "function"}; !slices.Equal(got, want) {
		t.Errorf("got names %q, want %q", got, want)
	}
}

// sources returns the text files of the repository, all modules included, by
// their slashed names.
func sources(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && (name == "node_modules" || name == "testdata" || name == ".git"):
			return fs.SkipDir
		case d.IsDir():
		case slices.Contains([]string{".go", ".md", ".mod", ".work", ".mjs", ".sql", ".html"}, filepath.Ext(name)), filepath.Base(filepath.Dir(path)) == ".ci":
			names = append(names, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What follows are the threats that no other file is about.

func TestThreat010_IdentityIsNotInTheState(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := w.begin(w.user(), "ada")
		raw, err := base64.RawURLEncoding.DecodeString(f.State)
		if err != nil || len(raw) != 32 || strings.Contains(string(raw), "ada") || strings.Contains(f.State, "ada") {
			t.Errorf("got state %q, %v; want 32 random bytes", f.State, err)
		}
		q := w.consent(f)
		for _, name := range []string{"user", "sub", "login_hint", "profile"} {
			q.Set(name, "mallory")
		}
		g, err := w.m.Finish(t.Context(), "ada", q)
		if err != nil || g.GrantKey != ada {
			t.Errorf("got %v, %v; want ada's grant", g, err)
		}
	})
}

// The redirect address says which profile a callback is for, and so does the
// stored flow: both must say the same.
func TestThreat040_ContextInAddressAndFlow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.m.RedirectURL = "https://app.example.com/cb/{profile}"
		s, b := w.site(), &browser{user: "ada"}
		second := s.p.Clone()
		second.ID, second.Version = "second", 0
		w.save(second)

		back := s.away(b, "https://app.example.com/connect")
		wrong := strings.Replace(back, w.m.RedirectAddress(s.p), w.m.RedirectAddress(second), 1)
		if wrong == back {
			t.Fatalf("got the callback %q, want it to be at the profile's address", back)
		}
		wantPage(t, s.serve(b, "GET", wrong), http.StatusBadRequest, "Not connected")
		w.asked("authorization_code", 0)
		w.noGrant(ada)
		w.noGrant(authprofile.GrantKey{ProfileID: "second", User: "ada"})

		wantPage(t, s.serve(b, "GET", s.away(b, "https://app.example.com/connect")), http.StatusOK, "Connected")
		w.healthy(ada)
		w.noGrant(authprofile.GrantKey{ProfileID: "second", User: "ada"})
	})
}

func TestThreat041_SharedRegistration(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.m.RedirectURL = "https://app.example.com/cb/{profile}"
		first := w.user()
		second := first.Clone()
		second.ID, second.Version = "second", 0
		w.save(second)
		other := authprofile.GrantKey{ProfileID: "second", User: "ada"}

		// A code of one tenant's flow is worth nothing in another's.
		code := w.consent(w.begin(first, "ada")).Get("code")
		w.finishFails("ada", with(w.consent(w.begin(second, "ada")), "code", code), nil)
		w.noGrant(other)

		w.authorize(first, "ada")
		w.refuses(w.m, second, authprofile.ErrReauthorize, asAda)
		w.srv.SetConsent(providertest.Consent{Subject: "somebody else"})
		if g := w.authorize(second, "ada"); g.Subject != "somebody else" {
			t.Errorf("got subject %q, want each profile to have its own", g.Subject)
		}
		if w.token(w.m, first, asAda) == w.token(w.m, second, asAda) {
			t.Error("got one token for two profiles")
		}
		if err := w.m.Revoke(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		w.healthy(ada)
		w.token(w.m, first, asAda)
	})
}

// A clock that is put back makes no storm, and no wait for the time at which
// it was before. That a token has ended is then for the API to say.
func TestThreat078_ClockIsPutBack(t *testing.T) {
	for _, jump := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{NoIDTokenOnRefresh: true}) // they would come from the future
				p := w.adasProfile()
				old, err := w.m.Token(t.Context(), p, asAda)
				if err != nil {
					t.Fatal(err)
				}
				expire()
				w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Grant: "refresh_token", Status: 503, Header: http.Header{"Retry-After": {"3000"}}})
				w.refuses(w.m, p, nil, asAda)
				w.srv.ClearFaults(providertest.Token)
				w.m.SetNow(func() time.Time { return time.Now().Add(-jump) })
				w.token(w.m, p, asAda, authprofile.Rejected(old))
				w.healthy(ada)

				asked := w.srv.Count("refresh_token")
				began := time.Now()
				for time.Since(began) < 3*time.Hour {
					w.token(w.m, p, asAda)
					time.Sleep(time.Minute)
				}
				if got := w.srv.Count("refresh_token") - asked; got > 4 {
					t.Errorf("got %d renewals in three hours, want about one an hour", got)
				}
				w.healthy(ada)
			})
		})
	}
}

func TestThreat080_ScopesAreWhatWasGranted(t *testing.T) {
	asked := []string{"openid", "read", "offline_access"}
	for _, test := range []struct {
		scope any // nil: not in the answer
		want  []string
	}{
		{nil, asked},
		{"", nil},
		{"read", []string{"read"}},
		{"offline_access read openid", []string{"offline_access", "read", "openid"}},
		{"openid read offline_access admin", append(slices.Clone(asked), "admin")},
	} {
		t.Run(fmt.Sprintf("080 %v", test.scope), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Token, func(answer map[string]any) {
					if answer["scope"] = test.scope; test.scope == nil {
						delete(answer, "scope")
					}
				})
				p := w.user()
				w.authorize(p, "ada")
				for _, when := range []string{"login", "renewal"} {
					g := w.grant(ada)
					if !slices.Equal(g.Scopes, test.want) || !slices.Equal(g.Requested, asked) {
						t.Errorf("%s: got scopes %q of %q, want %q of %q", when, g.Scopes, g.Requested, test.want, asked)
					}
					expire()
					w.token(w.m, p, asAda)
				}
			})
		})
	}

	// Fewer than before is worth a line in the log, without the user in it.
	inWorld(t, func(t *testing.T, w *world) {
		var log strings.Builder
		p := w.adasProfile()
		m := w.manager()
		m.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["scope"] = "openid" })
		expire()
		w.token(m, p, asAda)
		synctest.Wait() // the caller has the token before the log has the record
		if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "fewer scopes") || strings.Contains(text, "ada") {
			t.Errorf("got log %q, want a warning", text)
		}
	})
}

// A renewal asks for no more than the person has consented to, whatever the
// profile has got since, and is content with what it gets.
func TestThreat081_RenewalsDoNotExtendTheScope(t *testing.T) {
	inWorldOf(t, providertest.Microsoft("contoso.com"), func(t *testing.T, w *world) {
		p := w.save(&authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Template: authprofile.Microsoft("contoso.com"), Scopes: []string{"openid", "User.Read", "Mail.Read"},
			ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		})
		w.authorize(p, "ada")
		p.Scopes = []string{"openid", "User.Read", "Mail.ReadWrite"}
		w.save(p)
		expire()
		w.token(w.m, p, asAda)
		requests := w.srv.Requests()
		if got, want := requests[len(requests)-1].Scope, "openid User.Read offline_access"; got != want {
			t.Errorf("got scope %q in the renewal, want %q", got, want)
		}
		w.healthy(ada)
	})

	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.srv.SetPolicy(providertest.Policy{NarrowOnRefresh: true})
		p.Scopes = append(p.Scopes, "write")
		w.save(p)
		expire()
		w.token(w.m, p, asAda)
		if form := bodies(t, w.srv)[1]; form.Has("scope") {
			t.Errorf("got scope %q in the renewal, want none: the provider knows", form["scope"])
		}
		w.healthy(ada)
		if got := w.grant(ada).Scopes; !slices.Equal(got, []string{"openid"}) {
			t.Errorf("got scopes %q, want what the provider says that it has granted", got)
		}
	})
}

// A provider may answer 503 for ever for a grant that is dead. That costs
// little, can be seen, and keeps nobody from authorizing again.
func TestThreat085_OutageWithoutEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Grant: "refresh_token", Status: 503})
		expire()
		began := time.Now()
		fleet := []*authprofile.Manager{w.m, w.manager(), w.manager()}
		for time.Since(began) < 6*time.Hour {
			for _, m := range fleet {
				w.refuses(m, p, nil, asAda)
			}
			time.Sleep(time.Minute)
		}
		if got := w.srv.Count("refresh_token"); got > 6*60 {
			t.Errorf("got %d requests in six hours, want one a minute for all who have no token", got)
		}
		f := w.grant(ada).Failure
		if g := w.grant(ada); g.Status != authprofile.StatusFailing || f == nil || f.Since.Sub(began).Abs() > time.Second || f.Attempts < 50 {
			t.Errorf("got status %q with %+v, want to see since when", g.Status, f)
		}

		w.authorize(p, "ada")
		w.token(w.m, p, asAda)
		w.healthy(ada)
	})
}

// An access token is opaque, whatever it looks like.
func TestThreat114_AccessTokensAreNotRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b64 := base64.RawURLEncoding.EncodeToString
		jwt := b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(`{"iss":"https://evil.example.com","sub":"mallory","exp":1,"scope":"admin"}`)) + "."
		w.srv.MutateIDToken(func(_, claims map[string]any) { delete(claims, "at_hash") })
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["access_token"] = jwt })
		p := w.user()
		for round := range 2 {
			g := w.grant
			if round == 0 {
				w.authorize(p, "ada")
			} else {
				expire()
			}
			if got := w.token(w.m, p, asAda); got != jwt {
				t.Errorf("got token %q, want it as it came", got)
			}
			if g := g(ada); g.Subject != "user" || g.Issuer != issuer || slices.Contains(g.Scopes, "admin") || g.Expiry.Before(time.Now().Add(50*time.Minute)) {
				t.Errorf("got %v, want nothing that the access token claims", g)
			}
		}
	})
}

// A process dies after it has taken the flow. The person can begin again, and
// what was there before is as it was.
func TestThreat134_CrashBeforeTheGrantIsStored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		proc := w.process()
		crash := func(user string) url.Values {
			q := w.consent(w.begin(p, user))
			proc.store.failPuts(func(*authprofile.Grant) bool { return true })
			if g, err := proc.Finish(t.Context(), user, q); err == nil {
				t.Fatalf("got %v, want no grant that is not stored", g)
			}
			return q
		}
		q := crash("ada")
		w.noGrant(ada)
		w.finishFails("ada", q, authprofile.ErrNotFound)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.authorize(p, "ada")
		w.healthy(ada)

		before := w.grant(ada)
		crash("ada")
		if g := w.grant(ada); g.RefreshToken != before.RefreshToken || g.Version != before.Version {
			t.Errorf("got %v, want the grant as it was before: %v", g, before)
		}
		w.healthy(ada)
	})
}

// What an instrumented transport makes of requests, names of spans and labels
// of metrics, has no secret in it, and does not grow with the users.
func TestThreat138_AddressesOfRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		for i := range 5 {
			user := fmt.Sprint("user", i)
			w.srv.SetConsent(providertest.Consent{Subject: user})
			w.authorize(p, user)
			expire()
			w.token(w.m, p, authprofile.AsUser(user))
			if err := w.m.Revoke(t.Context(), authprofile.GrantKey{ProfileID: p.ID, User: user}); err != nil {
				t.Fatal(err)
			}
		}
		known := []string{w.srv.DiscoveryURL(), w.srv.JWKSURL(), w.srv.TokenURL(), w.srv.RevocationURL()}
		for _, c := range w.srv.Captured() {
			if c.Endpoint != providertest.Authorization && !slices.Contains(known, c.URL) {
				t.Errorf("got a request to %s, want none but to %q", c.URL, known)
			}
		}
	})
}

// The libraries that this one stands on have weaknesses which their
// documentation leaves to the caller. They must not show through.

// endless is a body without an end, which counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { return nil }

// elsewhere lets a process meet an answer of its own at an address, and
// returns the requests that went to other hosts than the provider's.
func (w *world) elsewhere(p *process, address string, answer func() *http.Response) *[]string {
	strayed := new([]string)
	p.net.on(func(r *http.Request) (*http.Response, error) {
		switch {
		case r.URL.Host != "login.example.com":
			body := "without a body"
			if r.Body != nil {
				text, err := io.ReadAll(r.Body)
				body = fmt.Sprint(string(text), err)
			}
			*strayed = append(*strayed, fmt.Sprint(r.URL, r.Header, body))
			return respond(200, "{}", "Content-Type", "application/json"), nil
		case r.URL.String() == address:
			resp := answer()
			resp.Request = r
			return resp, nil
		}
		return p.net.base.RoundTrip(r)
	})
	return strayed
}

func TestGoOIDC_DocumentsAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, proc := w.user(), w.process()
		proc.RedirectURL = callbackAddress
		for _, address := range []string{w.srv.DiscoveryURL(), w.srv.JWKSURL()} {
			body := new(endless)
			w.elsewhere(proc, address, func() *http.Response {
				resp := respond(200, "", "Content-Type", "application/json")
				resp.Body = body
				return resp
			})
			if address == w.srv.DiscoveryURL() {
				if f, err := proc.Begin(t.Context(), p, "ada"); !errors.Is(err, authprofile.ErrConfiguration) {
					t.Errorf("got %v, %v; want ErrConfiguration", f, err)
				}
				time.Sleep(time.Minute)
			} else if g, err := proc.Finish(t.Context(), "ada", w.consent(w.begin(p, "ada"))); err == nil {
				t.Errorf("got %v, want an error", g)
			}
			if body.read == 0 || body.read > 1<<20 {
				t.Errorf("%s: got %d bytes read of an endless document, want some, and at most 1 MiB", address, body.read)
			}
		}
		w.asked("authorization_code", 0) // the code is kept for better keys
		w.noGrant(ada)
	})
}

func TestGoOIDC_RedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint("052 ", status), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				for _, address := range []string{w.srv.DiscoveryURL(), w.srv.JWKSURL()} {
					proc := w.process()
					proc.RedirectURL = callbackAddress
					strayed := w.elsewhere(proc, address, func() *http.Response {
						return redirect(status, "https://evil.example.com/.well-known/openid-configuration")
					})
					var err error
					if address == w.srv.DiscoveryURL() {
						_, err = proc.Begin(t.Context(), p, "ada")
					} else {
						_, err = proc.Finish(t.Context(), "ada", w.consent(w.begin(p, "ada")))
					}
					if !errors.Is(err, authprofile.ErrConfiguration) {
						t.Errorf("%s: got error %v, want ErrConfiguration", address, err)
					}
					if len(*strayed) != 0 {
						t.Errorf("%s: got requests elsewhere: %q", address, *strayed)
					}
				}
				w.noGrant(ada)
			})
		})
	}
}

func TestGoOIDC_AddressesOfOtherSchemes(t *testing.T) {
	addresses := []string{"javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "http://login.example.com/x", "//evil.example.com/x", "/x", "$(calc)"}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri"} {
		for _, address := range addresses {
			t.Run("054 "+name+" "+address, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.srv.Mutate(providertest.Discovery, func(answer map[string]any) { answer[name] = address })
					p := w.user()
					f, err := w.m.Begin(t.Context(), p, "ada")
					if !errors.Is(err, authprofile.ErrConfiguration) || f != nil {
						t.Fatalf("got %v, %v; want ErrConfiguration", f, err)
					}
					if strings.Contains(err.Error(), address) {
						t.Errorf("got error %q, with the address in it", err)
					}
				})
			})
		}
	}

	// This one is of no matter before a grant is to be ended.
	for _, address := range addresses {
		t.Run("054 revocation_endpoint "+address, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) { answer["revocation_endpoint"] = address })
				w.adasProfile()
				err := w.m.Revoke(t.Context(), ada)
				if !errors.Is(err, authprofile.ErrConfiguration) || !strings.Contains(fmt.Sprint(err), "revocation_endpoint") {
					t.Fatalf("got %v, want ErrConfiguration with the member", err)
				}
				if strings.Contains(err.Error(), address) {
					t.Errorf("got error %q, with the address in it", err)
				}
				w.noGrant(ada)
			})
		})
	}
}

func TestOAuth2_SecretsAreNotPostedElsewhere(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint("067 ", status), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				user, appProfile := w.adasProfile(), w.app()
				before := w.grant(ada).RefreshToken
				proc := w.process()
				asked := 0
				strayed := w.elsewhere(proc, w.srv.TokenURL(), func() *http.Response {
					asked++
					return redirect(status, "https://evil.example.com/token")
				})
				query := w.consent(w.begin(user, "bob"))
				if g, err := proc.Finish(t.Context(), "bob", query); err == nil {
					t.Errorf("got %v, want an error", g)
				}
				expire()
				w.refuses(proc.Manager, user, nil, asAda)
				w.refuses(proc.Manager, appProfile, nil)
				if asked != 3 {
					t.Errorf("got %d token requests, want one for the code, the refresh token and the secret each", asked)
				}
				if g := w.grant(ada); g.RefreshToken != before || !w.srv.IsCurrent(string(before)) {
					t.Error("the refresh token is lost")
				}
				stray := w.elsewhere(proc, w.srv.RevocationURL(), func() *http.Response {
					return redirect(status, "https://evil.example.com/revoke")
				})
				if err := proc.Revoke(t.Context(), ada); err == nil {
					t.Error("got no error of a revocation that was redirected")
				}
				if all := append(*strayed, *stray...); len(all) != 0 {
					t.Errorf("got requests elsewhere: %q", all)
				}
			})
		})
	}
}

func TestOAuth2_OddLifetimesLoseNothing(t *testing.T) {
	for _, value := range []any{"", "1 hour", "3600", 3600.5, "3600.5", true, nil, -1, 0, 1e20, []any{3600}, map[string]any{"seconds": 3600}} {
		t.Run(fmt.Sprintf("076 %#v", value), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["expires_in"] = value })
				p := w.user()
				w.authorize(p, "ada")
				if g := w.grant(ada); !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Fatal("the refresh token of the login is lost")
				}
				time.Sleep(2 * time.Hour)
				w.m.Token(t.Context(), p, asAda)
				time.Sleep(10 * time.Second) // a renewal may be in the background
				g := w.grant(ada)
				if !w.srv.IsCurrent(string(g.RefreshToken)) || g.AccessToken == "" {
					t.Errorf("got %v, want what the provider has issued", g)
				}
				if n := w.srv.Reuses(); n != 0 {
					t.Errorf("got %d refresh tokens that were sent twice", n)
				}
			})
		})
	}
}

func TestOAuth2_RefreshTokensAreNotSentTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.AddClient(providertest.Client{ID: rpID, Secret: rpSecret})
		p := w.save(&authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, ClientID: rpID, ClientSecret: rpSecret,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			Scopes:    []string{"offline_access"},
		})
		w.authorize(p, "ada")
		w.srv.AddClient(providertest.Client{ID: rpID, Secret: rpSecret, AuthMethods: []string{"client_secret_post"}})
		expire()
		w.refuses(w.m, p, authprofile.ErrConfiguration, asAda)
		w.asked("refresh_token", 1)
		w.finishFails("bob", w.consent(w.begin(p, "bob")), authprofile.ErrConfiguration)
		w.asked("authorization_code", 2)

		p.AuthMethod = authprofile.AuthPost
		w.save(p)
		w.token(w.m, p, asAda)
		w.healthy(ada)
		w.asked("refresh_token", 2)
	})
}

func TestOAuth2_BodiesAreNotInErrors(t *testing.T) {
	for name, fault := range map[string]providertest.Fault{
		"a refusal":      {Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":"invalid_grant","error_description":"S3NT1NEL","error_uri":"https://S3NT1NEL","S3NT1NEL":"S3NT1NEL"}`},
		"a page":         {Status: 502, Header: http.Header{"Content-Type": {"text/html"}}, Body: `<h1>S3NT1NEL</h1>`},
		"a success":      {Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"token_type":"S3NT1NEL","access_token":{"S3NT1NEL":1}}`},
		"a broken JSON":  {Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"access_token":"S3NT1NEL`},
		"a header":       {Status: 500, Header: http.Header{"Www-Authenticate": {"Basic S3NT1NEL"}, "Retry-After": {"S3NT1NEL"}}},
		"a broken token": {Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"access_token":"S3NT1NEL\u0000","token_type":"Bearer"}`},
	} {
		t.Run("135 "+name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.authorize(p, "ada")
				fault.Times = -1
				w.srv.Fault(providertest.Token, fault)
				w.srv.Fault(providertest.Revocation, fault)
				expire()
				check := func(err error, op string) {
					t.Helper()
					w.keepsSilent(err, op)
					var re *oauth2.RetrieveError
					if errors.As(err, &re) && (re.Body != nil || re.Response != nil && (re.Response.Body != nil || len(re.Response.Header) > 0)) {
						t.Errorf("%s: got %+v, want no body and no header", op, re)
					}
				}
				check(w.refuses(w.m, p, nil, asAda), "token")
				check(w.finishFails("bob", w.consent(w.begin(p, "bob")), nil), "finish")
				if err := w.m.Revoke(t.Context(), ada); err != nil {
					check(err, "revoke")
				}
			})
		})
	}
}

func TestOAuth2_LineBreaksInTokens(t *testing.T) {
	for _, breaker := range []string{"\r\nX-Evil: S3NT1NEL", "\n", "\r", "\x00", " ", "é"} {
		t.Run(fmt.Sprintf("075 %q", breaker), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.authorize(p, "ada")
				w.srv.MutateIDToken(func(_, claims map[string]any) { delete(claims, "at_hash") })
				w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["access_token"] = "x" + breaker + "y" })
				expire()
				a := &api{provider: w.srv.Transport(), answer: func(*http.Request) *http.Response { return respond(200, "") }}
				m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: a}}
				defer m.Shutdown(t.Context())
				if resp, err := m.Client(t.Context(), p, asAda).Get("https://api.example.com/"); err == nil {
					t.Errorf("got %v, want an error", resp)
				}
				if calls := a.calls(); len(calls) != 0 {
					t.Errorf("got %q sent to the API", calls[0].header)
				}
				w.keepsSilent(w.refuses(m, p, nil, asAda), "token")
				if g := w.grant(ada); !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Error("the refresh token that came with it is lost")
				}
				w.keepsSilent(w.finishFails("bob", w.consent(w.begin(p, "bob")), nil), "finish")
				w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "bob"})

				w.srv.Mutate(providertest.Token, nil)
				time.Sleep(time.Minute)
				w.token(m, p, asAda)
				w.healthy(ada)
			})
		})
	}
}
