package authprofile

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// A dialect is in what a provider differs from the standards: what its row of the
// catalogue says. That of a provider without a row says nothing.
type dialect struct{ *catalog.Provider }

// authMethod returns how the row has the client of a profile authenticate; empty:
// it does not say.
func (d dialect) authMethod(p *Profile) AuthMethod {
	if p.Type == TypeApp && d.App != nil && d.App.Auth != "" {
		return AuthMethod(d.App.Auth)
	}
	return AuthMethod(d.AuthMethod)
}

// joinScopes writes a list of scopes as the provider reads it.
func (d dialect) joinScopes(scopes []string) string {
	return strings.Join(scopes, cmp.Or(d.ScopeSeparator, " "))
}

// usesPKCE reports whether the provider can be sent a code challenge and its
// verifier (RFC 7636).
func (d dialect) usesPKCE() bool { return d.PKCE != "off" }

// splitScopes reads a list of scopes, separated by spaces or commas.
func splitScopes(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
}

// joinScopeParams writes the lists of scopes in parameters as the provider reads
// them.
func (d dialect) joinScopeParams(q url.Values) {
	for _, name := range d.ScopeParams {
		if values, ok := q[name]; ok {
			q.Set(name, d.joinScopes(splitScopes(strings.Join(values, " "))))
		}
	}
}

// addParams puts parameters of the row into a form, before those of the profile.
// A value in texts stands for another.
func addParams(form url.Values, params map[string]string, texts map[string]string) {
	for name, value := range params {
		if text, ok := texts[value]; ok {
			value = text
		}
		form.Set(name, value)
	}
}

// errorClasses are what Provider.Errors may say, as classes.
var errorClasses = map[string]tokenendpoint.Class{
	"dead":          tokenendpoint.InvalidGrant,
	"configuration": tokenendpoint.Configuration,
	"unavailable":   tokenendpoint.Unavailable,
	"refused":       tokenendpoint.Refused,
}

// habits returns what the token and revocation endpoints differ in; nil: in
// nothing.
func (d dialect) habits() *tokenendpoint.Habits {
	if d.Name == "" {
		return nil
	}
	h := &tokenendpoint.Habits{
		ClientIDParam: d.ClientIDParam, JSON: d.BodyFormat == "json", Header: d.Headers,
		TokenPath: d.TokenPath, Keep: d.AnswerKeep,
		ExpiryMember: d.ExpiryMember, ExpiryFormat: d.ExpiryFormat,
		ScopeMember: d.ScopeMember, ScopeSeparator: d.ScopeSeparator,
		ErrorPaths: d.ErrorPaths,
	}
	if d.HostMember != "" { // whatever else is left out
		h.Keep = append([]string{d.HostMember}, d.AnswerKeep...)
	}
	if len(d.Errors) > 0 {
		h.Errors = make(map[string]tokenendpoint.Class, len(d.Errors))
		for code, class := range d.Errors {
			h.Errors[code] = errorClasses[class]
		}
	}
	return h
}

// at returns the provider at the host that it has told a grant to use, if it tells
// such a thing. What a grant has got from elsewhere than the provider's own hosts
// is refused: its tokens would be sent there.
func (pr *provider) at(extra map[string]Secret) (*provider, error) {
	value := string(extra[pr.dialect.HostMember])
	if pr.dialect.HostMember == "" || value == "" {
		return pr, nil
	}
	host := strings.TrimSuffix(strings.TrimPrefix(value, "https://"), "/")
	if !pr.dialect.HostFits(host) {
		return nil, configurationError(fieldTemplate, "is of a provider that names a host which is not one of its own")
	}
	moved := *pr
	for _, s := range []*string{&moved.tokenURL, &moved.refreshURL, &moved.revocationURL} {
		if u, err := url.Parse(*s); err == nil && *s != "" {
			u.Host = host
			*s = u.String()
		}
	}
	if pr.audience == pr.tokenURL {
		moved.audience = moved.tokenURL
	}
	return &moved, nil
}

// revocationRequests returns the requests that end what a grant has, in their
// order.
func (pr *provider) revocationRequests(p *Profile, g *Grant) []*revocationRequest {
	how := pr.dialect.Revocation
	if how == nil {
		how = new(catalog.Request)
	}
	kinds := pr.dialect.RevocationTokens
	if len(kinds) == 0 {
		kinds = []string{kindRefresh, kindAccess}
	}
	var list []*revocationRequest
	for _, kind := range kinds {
		token := string(g.AccessToken)
		if kind == kindRefresh {
			token = string(g.RefreshToken)
		}
		if token != "" && !(kind == kindAccess && len(list) > 0 && g.AccessToken == g.RefreshToken) {
			list = append(list, &revocationRequest{kind, pr.revocationRequest(p, g, how, kind, token)})
		}
	}
	return list
}

// revokesAccessOnly reports whether the provider can be asked to revoke access
// tokens, and no refresh tokens.
func (pr *provider) revokesAccessOnly() bool {
	kinds := pr.dialect.RevocationTokens
	return pr.revocationURL != "" && len(kinds) > 0 && !slices.Contains(kinds, kindRefresh)
}

// The kinds of tokens, as token_type_hint has them (RFC 7009, section 2.1).
const (
	kindRefresh = "refresh_token"
	kindAccess  = "access_token"
)

// A revocationRequest is what ends a token of that kind.
type revocationRequest struct {
	kind string
	req  *tokenendpoint.Request
}

func (pr *provider) revocationRequest(p *Profile, g *Grant, how *catalog.Request, kind, token string) *tokenendpoint.Request {
	texts := []string{"{token}", token, "{client_id}", p.ClientID, "{client_secret}", string(p.ClientSecret)}
	for name, value := range g.Extra {
		texts = append(texts, "{"+name+"}", string(value))
	}
	replacer := strings.NewReplacer(texts...)
	secrets := []string{token, string(p.ClientSecret)}

	form := url.Values{"token": {token}, "token_type_hint": {kind}}
	if how.Params != nil {
		form = make(url.Values, len(how.Params))
		for name, value := range how.Params {
			left := value
			for i := 0; i < len(texts); i += 2 {
				left = strings.ReplaceAll(left, texts[i], "")
			}
			if !strings.Contains(left, "{") { // else the grant lacks what it names
				form.Set(name, replacer.Replace(value))
			}
		}
	}
	if how.BodyFormat == "none" {
		form = nil
	}
	req := tokenRequest(p, pr, form)
	req.URL = strings.ReplaceAll(pr.revocationURL, "{client_id}", url.PathEscape(p.ClientID))
	req.Method = cmp.Or(how.Method, http.MethodPost)
	req.Secrets = secrets
	if req.Habits != nil {
		h := *req.Habits
		h.JSON = how.BodyFormat == "json"
		req.Habits = &h
	}
	switch how.Auth {
	case "":
	case "none":
		req.Anonymous = true
	case "bearer":
		req.Credential = &tokenendpoint.Credential{Header: "Authorization", Value: "Bearer " + token, Secrets: secrets, Token: true}
	default:
		if pr.authMethod != AuthNone { // else there is no secret
			req.AuthMethod = how.Auth
		}
	}
	for _, name := range slices.Sorted(maps.Keys(how.Headers)) {
		req.Credential = &tokenendpoint.Credential{
			Header: name, Value: replacer.Replace(how.Headers[name]), Secrets: secrets, Token: strings.Contains(how.Headers[name], "{token}"),
		}
	}
	return req
}
