package assertion_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/assertion"
)

// Workload identity federation: the application's registration at Entra ID has a
// federated credential for a service account of a Kubernetes cluster, and the
// cluster puts that account's token, for the audience api://AzureADTokenExchange,
// into a file that it keeps fresh. AZURE_FEDERATED_TOKEN_FILE has its path.
func ExampleFile() {
	var f func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) = assertion.File("/var/run/secrets/azure/tokens/azure-identity-token")

	_, err := f(context.Background(), &authprofile.Profile{ClientID: "4f1c6c0e-app"}, "https://login.microsoftonline.com/contoso/oauth2/v2.0/token")
	fmt.Println("outside the cluster there is none:", errors.Is(err, fs.ErrNotExist))
	// Output: outside the cluster there is none: true
}

// A helper of SPIFFE, such as spiffe-helper, writes the workload's JWT-SVID for
// the audience of the authorization server, and replaces it before it ends.
func ExampleFile_spiffe() {
	var f func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) = assertion.File("/run/spiffe/jwt_svid.token")

	_, err := f(context.Background(), &authprofile.Profile{ClientID: "spiffe://example.org/reports"}, "https://auth.example.org/token")
	fmt.Println("without the helper there is none:", errors.Is(err, fs.ErrNotExist))
	// Output: without the helper there is none: true
}

// kmsKey is what the client of a key management service gives for a key: the
// service signs, and the key does not leave it.
type kmsKey struct{ inside *ecdsa.PrivateKey }

func (k kmsKey) Public() crypto.PublicKey { return k.inside.Public() }

func (k kmsKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.inside.Sign(rand.Reader, digest, opts) // here: a call of the service
}

// A key in a key management service.
func ExampleSigner() {
	inside, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	var f func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) = assertion.Signer(kmsKey{inside}, "key-2026")

	signed, err := f(context.Background(), &authprofile.Profile{ClientID: "reports"}, "https://auth.example/token")
	fmt.Println(strings.Count(signed, ".")+1, "parts,", err)
	// Output: 3 parts, <nil>
}
