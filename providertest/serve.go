package providertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxBody is how much of a request's body is read. No request of a client is
// near it.
const maxBody = 1 << 20

// A call is a request that a Server is about to handle.
type call struct {
	endpoint Endpoint
	route    *route // of a fake; nil: none
	r        *http.Request
	body     []byte
	form     url.Values // of the body, which may have been JSON
	json     bool       // it was
	formErr  error
	fault    *Fault
	request  *Request // what is recorded of it, for the token endpoint
}

// serve handles a request: it is recorded, meets a fault if there is one for
// it, and is answered.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.leave()

	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if len(body) > maxBody {
		text(http.StatusRequestEntityTooLarge, "providertest: request too large").write(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))

	c := &call{endpoint: s.endpoint(r), route: s.fake.route(r), r: r, body: body}
	if c.route != nil {
		c.endpoint = c.route.endpoint
	}
	s.read(c)
	s.arrive(c)
	defer s.depart(c)

	if c.fault == nil {
		s.handle(c).write(w)
		return
	}
	c.fault.strike(s, w, c)
}

// handle does what a provider does when nothing is in the way.
func (s *Server) handle(c *call) *Answer {
	if c.route != nil {
		return c.route.serve(s, c)
	}
	post := c.r.Method == http.MethodPost
	switch {
	case c.endpoint == API:
		return s.serveAPI(c)
	case c.endpoint == Token || c.endpoint == Revocation || c.endpoint == PAR:
		if !post {
			return notAllowed("POST")
		}
	case c.r.Method == http.MethodGet:
	case post && c.endpoint == Authorization:
	case post && c.endpoint == UserInfo:
	case c.endpoint != "":
		return notAllowed("GET")
	}
	switch c.endpoint {
	case Discovery:
		return s.serveDiscovery()
	case JWKS:
		return s.serveKeys()
	case Authorization:
		return s.serveAuthorization(c)
	case Token:
		return s.serveToken(c)
	case Revocation:
		return s.serveRevocation(c)
	case PAR:
		return s.servePAR(c)
	case UserInfo:
		return s.serveAPI(c)
	}
	return text(http.StatusNotFound, "providertest: nothing here")
}

func notAllowed(allow string) *Answer {
	a := text(http.StatusMethodNotAllowed, "providertest: wrong method")
	a.Header.Set("Allow", allow)
	return a
}

// write sends a whole answer.
func (a *Answer) write(w http.ResponseWriter) {
	a.writeHeader(w)
	w.Write(a.Body)
}

func (a *Answer) writeHeader(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	if h.Get("Content-Length") == "" && a.Status != http.StatusNoContent && a.Status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
}

// read reads the parameters in the body of a request.
func (s *Server) read(c *call) {
	f := s.fake
	oauth := c.endpoint == Token || c.endpoint == Revocation
	if oauth && f.body != formBody && c.hasType("application/json") {
		c.json = true
		c.form, c.formErr = jsonForm(c.body)
	} else {
		c.form, c.formErr = url.ParseQuery(string(c.body))
	}
	if c.endpoint == Token && f.codeByDefault && c.form.Has("code") && !c.form.Has("grant_type") {
		c.form.Set("grant_type", "authorization_code")
	}
}

// jsonForm returns the members of a JSON object as parameters.
func jsonForm(body []byte) (url.Values, error) {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	err := d.Decode(&object)
	form := url.Values{}
	for name, v := range object {
		if v != nil {
			form.Set(name, fmt.Sprint(v))
		}
	}
	return form, err
}

func (c *call) hasType(want string) bool {
	kind, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), want)
}

// bodyProblem says what is wrong with a request's body, or "".
func (c *call) bodyProblem(want bodyFormat) string {
	switch {
	case c.json && c.formErr != nil:
		return "the body is not a JSON object"
	case c.json:
		return ""
	case want == jsonBody:
		return "the content type is not application/json"
	case !c.hasType("application/x-www-form-urlencoded"):
		return "the content type is not application/x-www-form-urlencoded"
	case c.formErr != nil:
		return "the body is not a form"
	}
	for name, values := range c.form {
		// RFC 6749, section 3.2; RFC 8707 lets resource come more than once.
		if len(values) > 1 && name != "resource" && name != "audience" {
			return "the parameter " + name + " comes more than once"
		}
	}
	return ""
}

// pause waits for a while. It returns false if the Server is closed meanwhile.
func (s *Server) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}
