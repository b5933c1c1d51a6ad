package authservers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// A Person is a user at a browser.
type Person struct {
	Name string
	Deny bool // does not consent
}

// Login plays a browser and the person before it: it opens an authorization
// address, follows redirects, and fills in the forms that it is shown, until it
// is sent to the redirect_uri of the address, or to RedirectURL if the request was
// pushed. It does not open that one, but returns its query.
func Login(t testing.TB, authURL string, p Person) url.Values {
	t.Helper()
	callback, err := login(authURL, p)
	if err != nil {
		t.Fatalf("login as %s: %v", p.Name, err)
	}
	return callback.Query()
}

func login(authURL string, p Person) (callback *url.URL, err error) {
	at, err := url.Parse(authURL)
	if err != nil {
		return nil, err
	}
	redirect := at.Query().Get("redirect_uri")
	if at.Query().Has("request_uri") {
		redirect = RedirectURL // the address itself does not say it
	}
	if redirect == "" {
		return nil, errors.New("the authorization address has no redirect_uri")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Timeout: 10 * time.Second, Jar: jar, Transport: httpClient.Transport, CheckRedirect: httpClient.CheckRedirect}
	req, err := http.NewRequest("GET", authURL, nil)
	for range 20 {
		if err != nil {
			return nil, err
		}
		resp, err2 := browser.Do(req)
		if err2 != nil {
			return nil, err2
		}
		body, err2 := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err2 != nil {
			return nil, err2
		}
		at := req.URL
		switch location := resp.Header.Get("Location"); {
		case location != "":
			to, err := at.Parse(location)
			if err != nil {
				return nil, err
			}
			if to.String() == redirect || strings.HasPrefix(to.String(), redirect+"?") {
				return to, nil
			}
			req, err = http.NewRequest("GET", to.String(), nil)
			if err != nil {
				return nil, err
			}
		case resp.StatusCode == http.StatusOK:
			req, err = fillIn(at, string(body), p)
		default:
			return nil, fmt.Errorf("status %d at %s: %s", resp.StatusCode, at.Path, body)
		}
	}
	return nil, errors.New("twenty pages, and no end")
}

// fillIn returns the request that a page's first form makes when the person
// has filled it in.
func fillIn(at *url.URL, page string, p Person) (*http.Request, error) {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return nil, err
	}
	form := find(doc, "form")
	if form == nil {
		return nil, fmt.Errorf("the page at %s has no form: %s", at.Path, page)
	}
	action, err := at.Parse(attr(form, "action"))
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	decision := "allow"
	if p.Deny {
		decision = "deny"
	}
	for n := range form.Descendants() {
		if n.Type != html.ElementNode || attr(n, "name") == "" {
			continue
		}
		name, value := attr(n, "name"), attr(n, "value")
		switch n.Data {
		case "input":
			switch name {
			case "username":
				value = p.Name
			case "password":
				value = Password
			}
			values.Add(name, value)
		case "button":
			if value == decision {
				values.Add(name, value)
			}
		}
	}
	req, err := http.NewRequest("POST", action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

func find(n *html.Node, element string) *html.Node {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == element {
			return d
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
