package main

import (
	"context"
	"net/http"

	"cloud.google.com/go/auth"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/authprofile/authprofile"
)

// A peer is one way to get a token, warm or cold.
type peer struct {
	name string
	get  func(ctx context.Context) (string, error)
}

var ctx = context.Background()

// peers returns all contenders, each with nothing in memory yet.
func peers(p *provider) []peer {
	return []peer{source(p), oauth2Source(p), cloudAuth(p), msal(p), azure(p)}
}

func source(p *provider) peer {
	m := &authprofile.Manager{HTTPClient: p.client()}
	src := m.Source(ctx, appProfile(""))
	return peer{"authprofile Source", func(context.Context) (string, error) { return access(src.Token()) }}
}

func oauth2Source(p *provider) peer {
	conf := &clientcredentials.Config{
		ClientID: "client", ClientSecret: "secret", TokenURL: origin + "/token", Scopes: []string{"api"}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	src := conf.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, p.client()))
	return peer{"x/oauth2", func(context.Context) (string, error) { return access(src.Token()) }}
}

func access(tok *oauth2.Token, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return tok.AccessToken, nil
}

// cloudAuth is the cache of cloud.google.com/go/auth, which renews in the
// background, over the plainest possible request.
func cloudAuth(p *provider) peer {
	tp := auth.NewCachedTokenProvider(fetch{p}, nil)
	return peer{"cloud.google.com/go/auth", func(ctx context.Context) (string, error) {
		tok, err := tp.Token(ctx)
		if err != nil {
			return "", err
		}
		return tok.Value, nil
	}}
}

type fetch struct{ p *provider }

func (f fetch) Token(ctx context.Context) (*auth.Token, error) {
	conf := &clientcredentials.Config{ClientID: "client", ClientSecret: "secret", TokenURL: origin + "/token", AuthStyle: oauth2.AuthStyleInHeader}
	tok, err := conf.Token(context.WithValue(ctx, oauth2.HTTPClient, f.p.client()))
	if err != nil {
		return nil, err
	}
	return &auth.Token{Value: tok.AccessToken, Type: "Bearer", Expiry: tok.Expiry}, nil
}

func msal(p *provider) peer {
	cred, err := confidential.NewCredFromSecret("secret")
	must(err)
	c, err := confidential.New(origin+"/tenant", "client", cred, confidential.WithHTTPClient(p), confidential.WithInstanceDiscovery(false))
	must(err)
	return peer{"MSAL", func(ctx context.Context) (string, error) {
		res, err := c.AcquireTokenByCredential(ctx, []string{"api/.default"})
		return res.AccessToken, err
	}}
}

func azure(p *provider) peer {
	var opts azidentity.ClientSecretCredentialOptions
	opts.Transport = transporter{p}
	opts.Cloud.ActiveDirectoryAuthorityHost = origin
	opts.DisableInstanceDiscovery = true
	opts.Retry.MaxRetries = -1
	var cred azcore.TokenCredential
	cred, err := azidentity.NewClientSecretCredential("tenant", "client", "secret", &opts)
	must(err)
	return peer{"azidentity", func(ctx context.Context) (string, error) {
		tok, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"api/.default"}})
		return tok.Token, err
	}}
}

type transporter struct{ p *provider }

func (t transporter) Do(req *http.Request) (*http.Response, error) { return t.p.RoundTrip(req) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}
