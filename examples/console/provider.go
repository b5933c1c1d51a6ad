package main

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A provider stands for Google, Microsoft and the others: it has the accounts that
// people connect.
type provider struct {
	*providertest.Server
	mu sync.Mutex // held while one person answers
}

func startProvider() (*provider, error) {
	srv, err := providertest.Start()
	if err != nil {
		return nil, err
	}
	return &provider{Server: srv}, nil
}

// client returns an HTTP client that reaches the provider and nothing else: no real
// provider hears of what is made up.
func (p *provider) client() *http.Client {
	return &http.Client{Transport: only{host: strings.TrimPrefix(p.Issuer(), "http://"), next: p.Transport()}}
}

type only struct {
	host string
	next http.RoundTripper
}

func (o only) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != o.host {
		return nil, fmt.Errorf("this example does not reach %s", r.URL.Host)
	}
	return o.next.RoundTrip(r)
}

// rows are the providers that templates can name besides the built-in ones.
func (p *provider) rows() []authprofile.Provider {
	return []authprofile.Provider{{
		Name: "planner-tasks", Title: "Planner Tasks", Revision: "2026-11-26",
		RegisterURL:  "https://planner.example/applications",
		Registration: "Choose “Web application”, and add the redirect address.",
		DiscoveryURL: p.DiscoveryURL(),
		Scopes:       []string{"openid", "offline_access"},
	}}
}

// consent is that of a person with an account.
func consent(account string) providertest.Consent {
	return providertest.Consent{Subject: account, Claims: map[string]any{"email": account}}
}

// ask makes the provider ask people who they are, and whether they consent.
func (p *provider) ask() {
	p.Fault(providertest.Authorization, providertest.Fault{Times: -1, Func: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		query := r.URL.Query()
		answer, account := query.Get("answer"), query.Get("account")
		if answer == "" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			consentPage.Execute(w, query)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		given := consent(account)
		if answer != "allow" {
			given.Error = "access_denied"
		}
		p.SetConsent(given)
		r.URL.RawQuery = without(query, "answer", "account").Encode()
		next.ServeHTTP(w, r)
	}})
}

func without(query url.Values, names ...string) url.Values {
	for _, name := range names {
		query.Del(name)
	}
	return query
}

var consentPage = template.Must(template.New("consent").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Allow access?</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto 0;padding:0 1.5rem}button,input{font:inherit;padding:.2rem .6rem}</style>
</head>
<body>
<main>
<h1>Allow access?</h1>
<p>Planner wants to use your account here. This page is that of the provider.</p>
<form>
{{range $name, $values := .}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}<p><label>Account <input name="account" value="ada@example.com" required maxlength="100"></label></p>
<p><button name="answer" value="allow">Allow</button> <button name="answer" value="deny">Deny</button></p>
</form>
</main>
</body>
</html>
`))
