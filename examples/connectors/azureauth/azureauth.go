// Package azureauth gives the Azure SDK for Go the access tokens of a Manager.
package azureauth

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/authprofile/authprofile"
)

// A Credential is what every client of the SDK takes. The scopes of the profile
// decide, not those that a client asks for: use a profile for each service, with
// a scope such as "https://vault.azure.net/.default".
type Credential struct {
	Manager *authprofile.Manager
	Profile *authprofile.Profile
	Options []authprofile.Option
}

var _ azcore.TokenCredential = Credential{}

// GetToken returns a token, and waits for it no longer than ctx lasts. The SDK
// sends it only over TLS, and does not ask again after an error.
func (c Credential) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	tok, err := c.Manager.Token(ctx, c.Profile, c.Options...)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: tok.AccessToken, ExpiresOn: tok.Expiry}, nil
}

// RetryPolicy returns a policy for PerRetryPolicies of a client's options. The
// SDK keeps a token of a [Credential] until shortly before its end, and returns
// the answer 401 of a service that refuses it. With this policy each request has
// the Manager's token of the moment, and one that is refused is made once more,
// with another token.
func (c Credential) RetryPolicy() policy.Policy { return retry{c} }

type retry struct{ Credential }

func (c retry) Do(req *policy.Request) (*http.Response, error) {
	if req.Raw().URL.Scheme != "https" { // as the SDK says of a Credential
		return nil, errors.New("azureauth: a token may not be sent without TLS")
	}
	ctx, header := req.Raw().Context(), req.Raw().Header
	tok, err := c.Manager.Token(ctx, c.Profile, c.Options...)
	if err != nil {
		return nil, err
	}
	header.Set("Authorization", "Bearer "+tok.AccessToken)
	resp, err := req.Next()
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	other, err := c.Manager.Token(ctx, c.Profile, append(slices.Clip(c.Options), authprofile.Rejected(tok))...)
	if err != nil || req.RewindBody() != nil {
		return resp, nil // there is no other token: the service's answer stands
	}
	resp.Body.Close()
	header.Set("Authorization", "Bearer "+other.AccessToken)
	return req.Next()
}
