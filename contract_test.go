package authprofile_test

import (
	"context"
	"database/sql"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sealed"
	"github.com/authprofile/authprofile/sqlstore"
	"github.com/authprofile/authprofile/storetest"
)

// TestContract holds the names and signatures that programs are built against.
// It fails when it does not compile.
func TestContract(t *testing.T) {
	type (
		ctx     = context.Context
		profile = authprofile.Profile
		grant   = authprofile.Grant
		flow    = authprofile.Flow
		key     = authprofile.GrantKey
		option  = authprofile.Option
	)
	p, m := new(profile), new(authprofile.Manager)
	_ = []any{
		func() error { return p.Validate() },
		(func() *profile)(p.Clone),
		(func() bool)(p.Unsaved),
		(func(ctx, *profile) error)(m.Save),
		(func(ctx, string) (*profile, error))(m.Profile),
		(func(ctx) iter.Seq2[*profile, error])(m.Profiles),
		(func(ctx, string) error)(m.Delete),
		(func(ctx, string) (*authprofile.Metadata, error))(m.Discover),
		(func(*profile) string)(m.RedirectAddress),
		(func(ctx, *profile, ...option) oauth2.TokenSource)(m.Source),
		(func(ctx, *profile, ...option) *http.Client)(m.Client),
		(func(ctx, *profile, ...option) (*oauth2.Token, error))(m.Token),
		(func(ctx, *profile, string, ...oauth2.AuthCodeOption) (*flow, error))(m.Begin),
		(func(ctx, string, url.Values) (*grant, error))(m.Finish),
		(func(ctx, key) (*grant, error))(m.Grant),
		(func(ctx, string) iter.Seq2[*grant, error])(m.Grants),
		(func(ctx, key) error)(m.Revoke),
		(func(ctx) error)(m.Shutdown),
		(func(ctx, *profile, ...option) oauth2.TokenSource)(authprofile.Source),
		(func(string) option)(authprofile.AsUser),
		(func(*oauth2.Token) option)(authprofile.Rejected),
		(func(string) authprofile.Template)(authprofile.Microsoft),
		(func() *oauth2.Token)(new(grant).Token),
		(func(http.ResponseWriter, *http.Request, *profile))(new(authprofile.RedirectHandler).Begin),
		(func(http.ResponseWriter, *http.Request))(new(authprofile.RedirectHandler).ServeHTTP),

		(func(*sql.DB, sqlstore.Dialect, *sqlstore.Options) (*sqlstore.Store, error))(sqlstore.New),
		(func(ctx) error)(new(sqlstore.Store).Migrate),
		(func(sqlstore.Dialect, *sqlstore.Options) (string, error))(sqlstore.Schema),
		(func(authprofile.Store, sealed.Keeper) authprofile.Store)(sealed.New),
		(func(sealed.Key, ...sealed.Key) (*sealed.Keyring, error))(sealed.NewKeyring),
		(func(*testing.T, func(*testing.T) authprofile.Store))(storetest.Run),
		(func(*testing.T, func(*testing.T, int) []authprofile.Store))(storetest.RunShared),
		(func(testing.TB, ...providertest.Option) *providertest.Server)(providertest.NewServer),

		authprofile.Profile{
			ID: "", Name: "", Description: "", Type: authprofile.TypeApp, ClientID: "", ClientSecret: authprofile.Secret(""),
			AuthMethod: authprofile.AuthMethod("client_secret_basic"), Template: authprofile.Google,
			Endpoints: authprofile.Endpoints{DiscoveryURL: "", AuthURL: "", TokenURL: "", RevocationURL: "", DeviceAuthURL: ""},
			Scopes:    []string{}, RedirectURL: "", Params: url.Values{}, Version: int64(0), Created: time.Time{}, Updated: time.Time{},
		},
		&authprofile.Manager{
			Store: authprofile.Store(new(authprofile.MemStore)), HTTPClient: new(http.Client), RedirectURL: "",
			RenewBefore: time.Minute, CacheSize: 10_000, Logger: new(slog.Logger),
		},
		authprofile.Grant{
			GrantKey: key{ProfileID: "", User: ""}, AccessToken: authprofile.Secret(""), RefreshToken: authprofile.Secret(""),
			TokenType: "", Expiry: time.Time{}, Scopes: []string{}, Subject: "", Status: authprofile.Status("active"),
			Failure: new(authprofile.Failure), Lease: new(authprofile.Lease), Version: int64(0), Created: time.Time{}, Updated: time.Time{},
		},
		authprofile.Flow{
			GrantKey: key{}, State: "", URL: "", ID: "", Verifier: authprofile.Secret(""), Nonce: "", Expires: time.Time{},
		},
		authprofile.FieldError{Field: "", Problem: ""},
		authprofile.Error{Op: "", ProfileID: "", User: "", Err: error(nil)},
		authprofile.RedirectHandler{
			Manager:      m,
			User:         func(*http.Request) (string, error) { return "", nil },
			Done:         func(http.ResponseWriter, *http.Request, *grant) {},
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) {},
		},
		sqlstore.Options{TablePrefix: ""},
		sealed.Key{ID: "", Secret: []byte{}},
		[]sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL},
		[]authprofile.Type{authprofile.TypeApp, authprofile.TypeUser},
		[]error{authprofile.ErrNotFound, authprofile.ErrConflict, authprofile.ErrReauthorize, authprofile.ErrConfiguration, authprofile.ErrUserMismatch},
		authprofile.ProfileStore(nil), authprofile.GrantStore(nil), authprofile.FlowStore(nil),
	}
	if authprofile.Google != "google" || authprofile.Microsoft("contoso.com") != "microsoft/contoso.com" {
		t.Error("got other templates, want their text as it may be stored")
	}
}
