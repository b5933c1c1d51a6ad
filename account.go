package authprofile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

// accountTimeout is how long a provider may take to say whose account it is. A
// person waits for that.
const accountTimeout = 5 * time.Second

// maxAccount is how much is read of what it says, in bytes.
const maxAccount = 256 << 10

// An account is whose a token is, as the provider's API says: for people.
type account struct{ id, name string }

func (a account) String() string { return cmp.Or(a.name, a.id) }

var (
	errNoAccountCall = errors.New("no call is known that says whose account it is")
	errAccountHost   = errors.New("the call that says whose account it is would go to a host that is not one of the provider's own, or of the profile's APIHosts")
	errNoAccount     = errors.New("the answer does not say whose account it is")
)

// askAccount asks the provider's API whose account the token of a grant is for.
// The text of the error is fit to be shown.
func (pr *provider) askAccount(ctx context.Context, hc *http.Client, p *Profile, g *Grant) (account, error) {
	req, err := pr.accountRequest(ctx, p, g)
	if err != nil {
		return account{}, err
	}
	within, cancel := transport.WithTimeout(ctx, accountTimeout)
	defer cancel()
	var status int
	var body []byte
	err = foreign.CallWithin(within, func() error {
		resp, err := hc.Transport.RoundTrip(req.WithContext(within)) // which follows no redirect
		if err != nil {
			return err
		}
		if resp == nil || resp.Body == nil {
			return errNoAccount
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(io.LimitReader(resp.Body, maxAccount))
		status, body = resp.StatusCode, got
		return err
	})
	switch {
	case err != nil:
		return account{}, transport.Describe(ctx, err, "the request failed")
	case status != http.StatusOK:
		return account{}, fmt.Errorf("the API answers HTTP %d", status)
	}
	text := func(path string) string { return shownText(tokenendpoint.TextAt(body, path)) }
	a := account{id: text(pr.dialect.AccountID)}
	if pr.dialect.AccountName != "" {
		a.name = text(pr.dialect.AccountName)
	}
	if a.id == "" {
		return account{}, errNoAccount
	}
	return a, nil
}

// accountRequest makes the request of askAccount.
func (pr *provider) accountRequest(ctx context.Context, p *Profile, g *Grant) (*http.Request, error) {
	call := pr.dialect.Account
	if call == nil {
		return nil, errNoAccountCall
	}
	where := call.URL
	for name, value := range g.Extra {
		if !strings.Contains(where, "{"+name+"}") {
			continue
		}
		text := url.PathEscape(string(value))
		if text == "." || text == ".." { // which would lead to another path
			return nil, errAccountHost
		}
		if strings.HasPrefix(where, "{"+name+"}") { // an address of the API
			text = strings.TrimSuffix(string(value), "/")
		}
		where = strings.ReplaceAll(where, "{"+name+"}", text)
	}
	u, err := url.Parse(where)
	if err != nil || address.Check(where) != nil || strings.ContainsAny(where, "{}") {
		return nil, errAccountHost
	}
	isOwn := strings.HasPrefix(call.URL, "https://"+u.Host+"/") || pr.dialect.HostFits(u.Host)
	if !isOwn || !address.AllowsHost(p.APIHosts, u) {
		return nil, errAccountHost
	}
	var body io.Reader
	contentType := ""
	switch {
	case call.Params == nil:
	case call.BodyFormat == "json":
		text, err := json.Marshal(call.Params)
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(text), "application/json"
	default:
		form := make(url.Values, len(call.Params))
		for name, value := range call.Params {
			form.Set(name, strings.ReplaceAll(value, "{token}", string(g.AccessToken)))
		}
		body, contentType = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(call.Method, http.MethodGet), where, body)
	if err != nil {
		return nil, errAccountHost
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, value := range call.Headers {
		req.Header.Set(name, value)
	}
	api := readAPIHeaders(pr.dialect.APIHeaders)
	api.set(req.Header, []string{api.value("Bearer", string(g.AccessToken))})
	for name, value := range map[string]string{"Accept": "application/json", "User-Agent": "authprofile"} {
		if req.Header.Get(name) == "" {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

// apiHeaders are what a provider's API wants in the headers of its requests.
type apiHeaders struct {
	token, prefix string      // the header that has the token, after the prefix; empty: Authorization
	others        http.Header // of requests that do not have them
}

// readAPIHeaders reads those of a row.
func readAPIHeaders(headers map[string]string) (h apiHeaders) {
	for name, value := range headers {
		if prefix, ok := strings.CutSuffix(value, "{token}"); ok {
			h.token, h.prefix = http.CanonicalHeaderKey(name), prefix
			continue
		}
		if h.others == nil {
			h.others = make(http.Header)
		}
		h.others.Set(name, value)
	}
	return h
}

// value returns what the header with a token of that type says.
func (h *apiHeaders) value(tokenType, token string) string {
	if h.token != "" {
		return h.prefix + token
	}
	return tokenType + " " + token
}

// set puts the headers into those of a request. The values are shared.
func (h *apiHeaders) set(header http.Header, value []string) {
	for name, values := range h.others {
		if _, ok := header[name]; !ok {
			header[name] = values
		}
	}
	header[cmp.Or(h.token, "Authorization")] = value
}

// noteAccount asks whose account a new grant is for, and stores it. The grant is
// good without it, whatever goes wrong.
func (w *writer) noteAccount(ctx context.Context, hc *http.Client, p *Profile, pr *provider, g *Grant) *Grant {
	if g.Account != "" || pr.dialect.Account == nil {
		return g
	}
	a, err := pr.askAccount(ctx, hc, p, g)
	if err != nil {
		return g
	}
	c := g.Clone()
	c.Account = a.String()
	if w.store.putGrant(ctx, c) != nil {
		return g // another process has changed it since
	}
	return c
}
