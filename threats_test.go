package authprofile_test

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
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
	31: {name: "loopback listener of a command-line program", tests: "TestThreat170_Callbacks"},
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
	49: {name: "flow that completes without the person's own browser", tests: "TestThreat170_Callbacks"},

	50: {name: "issuer of another document"},
	51: {name: "malformed issuer"},
	52: {name: "redirected discovery", tests: "TestGoOIDC_RedirectsAreNotFollowed"},
	53: {name: "poisoned discovery document"},
	54: {name: "endpoints that are no addresses", tests: "TestGoOIDC_AddressesOfOtherSchemes"},
	55: {name: "requests to internal addresses", duty: []string{"egress: server-side request forgery", "Manager.HTTPClient: package egress", "Manager.Check: package egress"}},
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
	96:  {name: "audience of private_key_jwt"},
	97:  {name: "assertion used twice"},
	98:  {name: "client certificate that rotates"},
	99:  {name: "self-signed client certificate"},
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

	141: {name: "pushed authorization requests that fail"},
	142: {name: "nonce of DPoP", absent: "DPoP is not built"},
	143: {name: "downgrade of DPoP", absent: "DPoP is not built"},
	144: {name: "answers of a device flow", absent: "there is no device flow"},
	145: {name: "resource indicators"},
	146: {name: "answers of a revocation endpoint", tests: "TestRevocationAnswers"},
	147: {name: "introspection of own tokens", absent: "tokens are not introspected"},

	148: {name: "assertion of another client, for another audience, or replayed", tests: "TestAssertionClaims TestAssertionIsUsedOnce"},
	149: {name: "algorithm that the key has not"},
	150: {name: "bad keys and certificates", tests: "TestParseRefuses"},
	151: {name: "assertion that cannot be had"},
	152: {name: "client certificate shown to another host, or over another profile's connection"},
	153: {name: "hostile answers to a pushed request"},
	154: {name: "parameters that replace what protects the exchange"},

	155: {name: "variables that lead to another host", tests: "TestLookup TestVariables TestHostsWithoutAVariable"},
	156: {name: "hosts named by a callback or an answer", tests: "TestTraitHostMember TestTraitHostMemberOfAnother"},
	157: {name: "bad rows of the application", tests: "TestCheck TestCheckNamesEveryProblem TestProviderJSONIsStrict TestProviderValidate"},
	158: {name: "Notify that blocks, fails or panics", tests: "TestNotifyBlocks TestNotifyFails TestManyNotices TestFleetTellsOnce"},
	159: {name: "hostile receivers of notices", tests: "TestClient TestStatuses TestSlowReceivers"},
	160: {name: "secrets in notices", tests: "TestNothingLeaks"},

	161: {name: "console used by another site", duty: []string{"console: http.CrossOriginProtection"}},
	162: {name: "console that shows hostile texts"},
	163: {name: "secrets in the console"},
	164: {name: "console without an operator, or with one that fails", duty: []string{"console.Handler.Operator: required"}},
	165: {name: "link to a connection, forwarded"},
	166: {name: "connection of another user"},
	167: {name: "forged and endless requests to the console"},
	168: {name: "secrets among arguments, in the environment, in the history of a shell"},
	169: {name: "key files and databases that others can read"},
	170: {name: "callbacks to the command line that are not its own"},
	171: {name: "console of the command line, used by others"},
	172: {name: "helpers asked for foreign hosts"},
	173: {name: "command that is interrupted, or cannot write"},
	174: {name: "token on a terminal"},
	175: {name: "secrets in metrics and spans", tests: "TestMetrics TestSpans TestNothingLeaks"},
}

func TestEveryThreatHasATest(t *testing.T) {
	numbered, names := testsOfRepository(t)
	documented := make(map[string]*doc.Package)
	if len(threats) != 176 {
		t.Errorf("got %d rows, want 175", len(threats)-1)
	}
	for number, row := range threats {
		if number == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%03d %s", number, row.name), func(t *testing.T) {
			found := numbered[number]
			for name := range strings.FieldsSeq(row.tests) {
				if !names[name] {
					t.Errorf("got no test %s, want it", name)
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
				t.Error("got no name, want one")
			case len(found) == 0 && row.absent == "":
				t.Error("got no test that meets it, want one")
			case len(found) > 0 && row.absent != "":
				t.Errorf("got %q, want none, since %s", found, row.absent)
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
			t.Fatalf("%s: got no package in %s, want one", definition, dir)
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
