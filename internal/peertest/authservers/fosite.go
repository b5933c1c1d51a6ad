package authservers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
	"golang.org/x/crypto/bcrypt"
)

// Fosite starts a server made of github.com/ory/fosite, over its store in
// memory. Its issuer has a path, so that the addresses of its two discovery
// documents differ in more than the last part.
//
// A refresh ends the access token from before.
func Fosite(t testing.TB, opts Options) *Server {
	t.Helper()
	s, ts := newServer(t, "fosite", opts)
	base := s.Issuer
	s.Issuer = base + "/acme"
	s.DiscoveryURL = s.Issuer + "/.well-known/openid-configuration"
	s.MetadataURL = base + "/.well-known/oauth-authorization-server/acme"
	s.AuthURL = s.Issuer + "/authorize"
	s.TokenURL = s.Issuer + "/token"
	s.RevocationURL = s.Issuer + "/revoke"
	s.IntrospectionURL = s.Issuer + "/introspect"
	s.PARURL = s.Issuer + "/par"

	key := signingKey()
	config := &fosite.Config{
		AccessTokenLifespan:        opts.tokenLife(),
		RefreshTokenScopes:         []string{"offline_access"},
		EnforcePKCE:                true,
		IDTokenIssuer:              s.Issuer,
		TokenURL:                   s.TokenURL,
		HashCost:                   bcrypt.MinCost,
		GlobalSecret:               []byte(rand.Text() + rand.Text()),
		IsPushedAuthorizeEnforced:  opts.RequirePAR,
		SendDebugMessagesToClients: true,
	}
	getKey := func(context.Context) (any, error) { return key, nil }
	store := &fositeStore{MemoryStore: storage.NewMemoryStore(), clients: make(map[string]fosite.Client)}
	s.register = store.register
	for _, c := range opts.clients() {
		s.Register(t, c)
	}
	f := &fositeServer{
		issuer: s.Issuer,
		pushed: make(map[string]fosite.AuthorizeRequester),
		provider: compose.Compose(config, store,
			&compose.CommonStrategy{
				CoreStrategy:               compose.NewOAuth2HMACStrategy(config),
				OpenIDConnectTokenStrategy: compose.NewOpenIDConnectStrategy(getKey, config),
				Signer:                     &jwt.DefaultSigner{GetPrivateKey: getKey},
			},
			compose.OAuth2AuthorizeExplicitFactory,
			compose.OAuth2ClientCredentialsGrantFactory,
			compose.OAuth2RefreshTokenGrantFactory,
			compose.OpenIDConnectExplicitFactory,
			compose.OpenIDConnectRefreshFactory,
			compose.OAuth2TokenIntrospectionFactory,
			compose.OAuth2TokenRevocationFactory,
			compose.OAuth2PKCEFactory,
			compose.PushedAuthorizeHandlerFactory,
		),
	}

	metadata := map[string]any{
		"issuer":                                s.Issuer,
		"authorization_endpoint":                s.AuthURL,
		"token_endpoint":                        s.TokenURL,
		"revocation_endpoint":                   s.RevocationURL,
		"introspection_endpoint":                s.IntrospectionURL,
		"jwks_uri":                              s.Issuer + "/jwks",
		"scopes_supported":                      Scopes,
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 []string{"authorization_code", "client_credentials", "refresh_token"},
		"subject_types_supported":               []string{"public"},
		"code_challenge_methods_supported":      []string{"S256"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic", "private_key_jwt", "none"},
		"pushed_authorization_request_endpoint": s.PARURL,
		"require_pushed_authorization_requests": opts.RequirePAR,

		"token_endpoint_auth_signing_alg_values_supported": opts.assertionAlgs("RS256", "PS256", "ES256", "ES384", "ES512"),
	}
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: keyID, Algorithm: "RS256", Use: "sig"}}}

	mux := http.NewServeMux()
	mux.Handle("GET "+mustParse(s.DiscoveryURL).Path, asJSON(metadata))
	mux.Handle("GET "+mustParse(s.MetadataURL).Path, asJSON(metadata))
	mux.Handle("GET /acme/jwks", asJSON(public))
	mux.HandleFunc("/acme/authorize", f.authorize)
	mux.HandleFunc("POST /acme/token", f.token)
	mux.HandleFunc("POST /acme/revoke", f.revoke)
	mux.HandleFunc("POST /acme/par", f.push)
	mux.HandleFunc("POST /acme/introspect", f.introspect)
	s.front(t, ts, mux)
	return s
}

func (c Client) fosite(t testing.TB) fosite.Client {
	hash, err := bcrypt.GenerateFromPassword([]byte(c.Secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	client := &fosite.DefaultOpenIDConnectClient{
		DefaultClient: &fosite.DefaultClient{
			ID:            c.ID,
			Secret:        hash,
			Public:        c.method() == "none",
			RedirectURIs:  c.RedirectURLs,
			GrantTypes:    c.Grants,
			ResponseTypes: []string{"code"},
			Scopes:        Scopes,
		},
		TokenEndpointAuthMethod: c.method(),
	}
	if c.Key != nil {
		client.JSONWebKeys = &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{*c.Key}}
		client.TokenEndpointAuthSigningAlgorithm = c.Key.Algorithm
	}
	return client
}

// A fositeStore is the store in memory with clients that can be replaced while
// the server is in use.
type fositeStore struct {
	*storage.MemoryStore

	mu      sync.Mutex
	clients map[string]fosite.Client
}

func (s *fositeStore) register(t testing.TB, c Client) {
	client := c.fosite(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = client
}

func (s *fositeStore) GetClient(_ context.Context, id string) (fosite.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	if !ok {
		return nil, fosite.ErrNotFound
	}
	return c, nil
}

const keyID = "key-1"

// signingKey is made once for all servers of a test program.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

type fositeServer struct {
	issuer   string
	provider fosite.OAuth2Provider

	// mu makes of each token request a transaction, as a database would: the
	// store in memory has none, and would take one refresh token from two
	// requests at once.
	mu sync.Mutex

	// pushed are the requests that were pushed and are before a person, by what
	// the form has of them. They cannot be read a second time.
	pushedMu sync.Mutex
	pushed   map[string]fosite.AuthorizeRequester
}

func session(subject string) *openid.DefaultSession {
	now := time.Now().UTC()
	return &openid.DefaultSession{
		Subject: subject,
		Claims:  &jwt.IDTokenClaims{Subject: subject, AuthTime: now, RequestedAt: now},
		Headers: &jwt.Headers{Extra: map[string]any{"kid": keyID}},
	}
}

func (f *fositeServer) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	ar, again, err := f.request(r)
	if err != nil {
		f.provider.WriteAuthorizeError(ctx, w, ar, err)
		return
	}
	if r.Method != http.MethodPost || r.PostForm.Get("password") != Password {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		loginPage.Execute(w, map[string]any{
			"Client":  ar.GetClient().GetID(),
			"Scopes":  ar.GetRequestedScopes(),
			"Request": again,
			"Wrong":   r.Method == http.MethodPost,
		})
		return
	}
	if r.PostForm.Get("decision") != "allow" {
		f.provider.WriteAuthorizeError(ctx, w, ar, fosite.ErrAccessDenied)
		return
	}
	for _, scope := range ar.GetRequestedScopes() {
		ar.GrantScope(scope)
	}
	resp, err := f.provider.NewAuthorizeResponse(ctx, ar, session("sub-of-"+r.PostForm.Get("username")))
	if err != nil {
		f.provider.WriteAuthorizeError(ctx, w, ar, err)
		return
	}
	f.provider.WriteAuthorizeResponse(ctx, w, ar, resp)
}

// request returns the authorization request that r makes or goes on with, and the
// form that goes on with it.
func (f *fositeServer) request(r *http.Request) (ar fosite.AuthorizeRequester, again url.Values, err error) {
	f.pushedMu.Lock()
	defer f.pushedMu.Unlock()
	if ar := f.pushed[r.PostFormValue("pushed")]; ar != nil {
		return ar, url.Values{"pushed": r.PostForm["pushed"]}, nil
	}
	ar, err = f.provider.NewAuthorizeRequest(r.Context(), r)
	if err != nil || !r.Form.Has("request_uri") {
		return ar, ar.GetRequestForm(), err
	}
	id := rand.Text()
	f.pushed[id] = ar
	return ar, url.Values{"pushed": {id}}, nil
}

func (f *fositeServer) push(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx := r.Context()
	ar, err := f.provider.NewPushedAuthorizeRequest(ctx, r)
	if err != nil {
		f.provider.WritePushedAuthorizeError(ctx, w, ar, err)
		return
	}
	resp, err := f.provider.NewPushedAuthorizeResponse(ctx, ar, session(""))
	if err != nil {
		f.provider.WritePushedAuthorizeError(ctx, w, ar, err)
		return
	}
	f.provider.WritePushedAuthorizeResponse(ctx, w, ar, resp)
}

var loginPage = template.Must(template.New("login").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in</title></head>
<body style="font-family: sans-serif; max-width: 30em; margin: 3em auto">
<h1>Sign in</h1>
{{if .Wrong}}<p role="alert">Wrong name or password.</p>{{end}}
<p>{{.Client}} asks for: {{range .Scopes}}<code>{{.}}</code> {{end}}</p>
<form method="post" action="authorize">
{{range $name, $values := .Request}}{{if not (or (eq $name "username") (eq $name "password") (eq $name "decision"))}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}{{end -}}
<p><label>Name <input name="username" autocomplete="off" required></label></p>
<p><label>Password <input name="password" type="password" required></label></p>
<p><button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button></p>
</form></body></html>
`))

func (f *fositeServer) token(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx := r.Context()
	req, err := f.provider.NewAccessRequest(ctx, r, session(""))
	if err != nil {
		f.provider.WriteAccessError(ctx, w, req, err)
		return
	}
	if req.GetGrantTypes().ExactOne("client_credentials") {
		for _, scope := range req.GetRequestedScopes() {
			req.GrantScope(scope)
		}
	}
	resp, err := f.provider.NewAccessResponse(ctx, req)
	if err != nil {
		f.provider.WriteAccessError(ctx, w, req, err)
		return
	}
	f.provider.WriteAccessResponse(ctx, w, req, resp)
}

func (f *fositeServer) revoke(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.provider.WriteRevocationResponse(r.Context(), w, f.provider.NewRevocationRequest(r.Context(), r))
}

func (f *fositeServer) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	resp, err := f.provider.NewIntrospectionRequest(ctx, r, session(""))
	if err != nil {
		f.provider.WriteIntrospectionError(ctx, w, err)
		return
	}
	f.provider.WriteIntrospectionResponse(ctx, w, resp)
}

func asJSON(v any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	})
}
