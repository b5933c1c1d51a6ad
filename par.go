package authprofile

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

// settlePAR decides whether authorization requests are pushed (RFC 9126): if the
// profile has an address for that, or the provider takes no others.
func (pr *provider) settlePAR(p *Profile, doc *discovery.Document) {
	pr.parURL = p.Endpoints.PARURL
	if pr.parURL != "" || doc == nil || !doc.RequirePAR {
		return
	}
	if pr.parURL = doc.PARURL; pr.parURL == "" && pr.authErr == nil {
		pr.authErr = documentError(doc.Missing(discovery.MemberPAR), pr.documentField)
	}
}

// push pushes the authorization request of f, if that is to be done: f.URL has the
// client and a reference to the request then, and nothing else travels through the
// browser.
func (pr *provider) push(ctx context.Context, hc *http.Client, p *Profile, f *Flow) error {
	if pr.parURL == "" {
		return nil
	}
	u, err := url.Parse(f.URL)
	if err != nil {
		return err
	}
	form, _ := address.ReadQuery(u.RawQuery)
	own, err := url.Parse(pr.authURL)
	if err != nil {
		return err
	}
	query, _ := address.ReadQuery(own.RawQuery)
	form.Del("request_uri") // which is not pushed (RFC 9126, section 2.1)
	for name, values := range query {
		// The address's own parameters stay in it, but for those that the library
		// or the profile has replaced, and those that protect the exchange.
		if slices.Contains(reservedParams, name) || !slices.Equal(form[name], values) {
			query.Del(name)
		} else {
			form.Del(name)
		}
	}
	req := tokenRequest(p, pr, form)
	req.URL = pr.parURL
	within, cancel := transport.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var pushed *tokenendpoint.Pushed
	err = foreign.CallWithin(within, func() (err error) {
		pushed, err = tokenendpoint.Push(within, pr.freshClient(hc), req)
		return err
	})
	switch {
	case asTokenError(err) != nil:
		return exchangeError(err)
	case err != nil:
		return errors.Join(errNotPushed, err)
	}
	query.Set(cmp.Or(pr.dialect.ClientIDParam, "client_id"), p.ClientID)
	query.Set("request_uri", pushed.RequestURI)
	own.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	f.URL = own.String()
	return nil
}

var errNotPushed = errors.New("the authorization request could not be pushed")
