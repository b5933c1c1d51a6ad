package catalog

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Row describes a provider, as data. It is what authprofile.Provider is, and
// is documented there; the two have the same JSON, by which one becomes the
// other.
type Row struct {
	Name         string   `json:"name"`
	Title        string   `json:"title"`
	Revision     string   `json:"revision"`
	RegisterURL  string   `json:"register_url"`
	Registration string   `json:"registration,omitempty"`
	RefreshToken string   `json:"refresh_token,omitempty"`
	Changes      []string `json:"changes,omitempty"`

	Variables []Variable `json:"variables,omitempty"`

	DiscoveryURL  string            `json:"discovery_url,omitempty"`
	Issuer        string            `json:"issuer,omitempty"`
	TenantIDs     map[string]string `json:"tenant_ids,omitempty"`
	IssuerAliases []string          `json:"issuer_aliases,omitempty"`
	AuthURL       string            `json:"auth_url,omitempty"`
	TokenURL      string            `json:"token_url,omitempty"`
	RefreshURL    string            `json:"refresh_url,omitempty"`
	Hosts         []string          `json:"hosts,omitempty"`
	FormerOrigins []string          `json:"former_origins,omitempty"`

	AuthMethod        string            `json:"auth_method,omitempty"`
	AssertionAudience string            `json:"assertion_audience,omitempty"`
	ClientIDParam     string            `json:"client_id_param,omitempty"`
	BodyFormat        string            `json:"body_format,omitempty"`
	Headers           map[string]string `json:"headers,omitempty"`
	AuthParams        map[string]string `json:"auth_params,omitempty"`
	TokenParams       map[string]string `json:"token_params,omitempty"`
	RefreshParams     map[string]string `json:"refresh_params,omitempty"`
	RefreshOmit       []string          `json:"refresh_omit,omitempty"`
	RedirectURI       string            `json:"redirect_uri,omitempty"`
	RefreshGrant      string            `json:"refresh_grant,omitempty"`
	Scopes            []string          `json:"scopes,omitempty"`
	ScopeSeparator    string            `json:"scope_separator,omitempty"`
	ScopeParams       []string          `json:"scope_params,omitempty"`
	ScopeOnRefresh    bool              `json:"scope_on_refresh,omitempty"`
	ScopesRegistered  bool              `json:"scopes_registered,omitempty"`
	PKCE              string            `json:"pkce,omitempty"`
	App               *Request          `json:"app,omitempty"`
	AppGrant          string            `json:"app_grant,omitempty"`

	CallbackCode   string            `json:"callback_code,omitempty"`
	CallbackKeep   []string          `json:"callback_keep,omitempty"`
	CallbackMatch  map[string]string `json:"callback_match,omitempty"`
	CallbackHMAC   string            `json:"callback_hmac,omitempty"`
	CallbackErrors map[string]string `json:"callback_errors,omitempty"`
	CallbackScope  string            `json:"callback_scope,omitempty"`

	TokenPath    string            `json:"token_path,omitempty"`
	AnswerKeep   []string          `json:"answer_keep,omitempty"`
	ExpiryMember string            `json:"expiry_member,omitempty"`
	ExpiryFormat string            `json:"expiry_format,omitempty"`
	ScopeMember  string            `json:"scope_member,omitempty"`
	HostMember   string            `json:"host_member,omitempty"`
	IDToken      string            `json:"id_token,omitempty"`
	ErrorPaths   []string          `json:"error_paths,omitempty"`
	Errors       map[string]string `json:"errors,omitempty"`

	Revocation       *Request          `json:"revocation,omitempty"`
	RevocationTokens []string          `json:"revocation_tokens,omitempty"`
	Account          *Request          `json:"account,omitempty"`
	AccountID        string            `json:"account_id,omitempty"`
	AccountName      string            `json:"account_name,omitempty"`
	APIHeaders       map[string]string `json:"api_headers,omitempty"`

	IdleDays     int `json:"idle_days,omitempty"`
	AbsoluteDays int `json:"absolute_days,omitempty"`
}

// A Variable is a part of a template that the profile chooses.
type Variable struct {
	Name     string            `json:"name"`
	Title    string            `json:"title"`
	Example  string            `json:"example"`
	Pattern  string            `json:"pattern,omitempty"`
	Values   map[string]string `json:"values,omitempty"`
	Host     bool              `json:"host,omitempty"`
	Default  string            `json:"default,omitempty"`
	Optional bool              `json:"optional,omitempty"`
	Prefix   string            `json:"prefix,omitempty"`
	Suffix   string            `json:"suffix,omitempty"`
}

// A Request is one that a provider wants in its own way.
type Request struct {
	URL        string            `json:"url,omitempty"`
	Method     string            `json:"method,omitempty"`
	Auth       string            `json:"auth,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	BodyFormat string            `json:"body_format,omitempty"`
	Params     map[string]string `json:"params,omitzero"`
}

// JSON is the built-in catalogue: an array of rows, sorted by name.
//
//go:embed providers.json
var JSON string

// Parse reads an array of rows. It refuses members that it does not know, and
// looks at nothing else: [Row.Check] does.
func Parse(text []byte) ([]*Row, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var rows []*Row
	if err := dec.Decode(&rows); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the array of providers")
	}
	for i, r := range rows {
		if r == nil {
			return nil, fmt.Errorf("provider %d is null", i)
		}
	}
	return rows, nil
}

// builtIn are the rows of JSON, by name. They are read when the first of them is
// looked for.
var builtIn = sync.OnceValue(func() map[string]*entry {
	rows, err := Parse([]byte(JSON))
	if err != nil {
		panic(err) // the tests read it, too
	}
	return index(rows)
})
