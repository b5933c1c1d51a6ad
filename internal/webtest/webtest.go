// Package webtest is a network in memory for tests, and a provider's document
// in it.
package webtest

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/issuer"
)

// A Web is the network: a handler for every address, and counters.
type Web struct {
	mu       sync.Mutex
	pages    map[string]http.HandlerFunc
	requests map[string]int
}

// New makes a network with nothing in it.
func New() *Web {
	return &Web{pages: make(map[string]http.HandlerFunc), requests: make(map[string]int)}
}

// Set makes h answer at an address; with nil there is no host any more.
func (w *Web) Set(address string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[address] = h
}

// Count returns how many requests there were to an address.
func (w *Web) Count(address string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests[address]
}

// Requests returns how many requests there were, by address.
func (w *Web) Requests() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.requests)
}

// RoundTrip makes a Web an [http.RoundTripper].
func (w *Web) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.requests[req.URL.String()]++
	h := w.pages[req.URL.String()]
	w.mu.Unlock()
	if h == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("nobody there")}
	}
	rec := httptest.NewRecorder()
	h(rec, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// Client returns a client in this network.
func (w *Web) Client() *http.Client { return &http.Client{Transport: w} }

// A RoundTripper is a function that makes an [http.RoundTripper].
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// JSON answers with a JSON text, and with header fields given as names and
// values in turn.
func JSON(body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		io.WriteString(w, body)
	}
}

// Status answers with a status alone.
func Status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

// Pass lets time pass, in a bubble of testing/synctest.
func Pass(d time.Duration) { <-time.After(d) }

// A provider, and where its document and its keys are.
const (
	Issuer      = "https://idp.example.com"
	DocumentURL = Issuer + issuer.WellKnownOpenID
	KeysURL     = Issuer + "/keys"
)

// Document is the provider's discovery document with some members changed; nil
// removes one.
func Document(changes map[string]any) string {
	doc := map[string]any{
		"issuer":                   Issuer,
		"authorization_endpoint":   Issuer + "/authorize",
		"token_endpoint":           Issuer + "/token",
		"revocation_endpoint":      Issuer + "/revoke",
		"jwks_uri":                 KeysURL,
		"response_types_supported": []string{"code"},
	}
	for name, value := range changes {
		if doc[name] = value; value == nil {
			delete(doc, name)
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return string(text)
}
