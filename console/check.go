package console

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authprofile/authprofile"
)

// checkTime is how long the test of a profile may take.
const checkTime = 2 * time.Minute

// A checkStep is a step of the test, in words.
type checkStep struct {
	Title, Outcome, Tone string
	Problem, Help        string
	Took                 string
}

// stepWords are what the steps are called, and what helps if one fails.
var stepWords = map[string]struct{ title, help string }{
	"address":       {"Reach the provider", "Check the addresses for typing errors. If they are right, check that this service can reach them: DNS, proxy, firewall and certificates."},
	"discovery":     {"Read the discovery document", "Compare the address of the discovery document, or the fields of the template, with the provider's documentation."},
	"redirect":      {"Find the redirect URI", "Set one for the whole service, or for this profile under More."},
	"authorization": {"Ask for authorization", "Register the Redirect URI at the provider exactly as the form shows it, and compare client ID and scopes with the registration."},
	"client":        {"Authenticate the client", "Compare client ID, client secret or key, and the client authentication under More, with the registration. The secret may have ended: create a new one there."},
	"token":         {"Get a token", "Check that the registration allows the client credentials grant and these scopes."},
	"account":       {"Look up the account", "Check that the scopes allow the request to the provider's API."},
	"clock":         {"Compare the clocks", "Synchronize this machine's clock with a time server."},
}

// inWords says what a step of the test has found.
func inWords(s authprofile.Step) checkStep {
	words := stepWords[s.Name]
	step := checkStep{Title: words.title, Problem: sentence(asOnPage.Replace(s.Problem))}
	if s.Outcome != authprofile.StepSkipped {
		if took := s.Took.Round(time.Millisecond); took > 0 {
			step.Took = took.String()
		}
	}
	switch s.Outcome {
	case authprofile.StepPassed:
		step.Outcome, step.Tone = "Passed", "good"
	case authprofile.StepFailed:
		step.Outcome, step.Tone, step.Help = "Failed", "bad", words.help
	default:
		step.Outcome, step.Tone = "Not tested", "muted"
	}
	return step
}

// asOnPage puts the labels of the form, and the titles of steps, in the place of the
// names that fields and steps have in programs.
var asOnPage = func() *strings.Replacer {
	var pairs []string
	for _, f := range fields {
		if strings.HasPrefix(f.path, "Endpoints.") || f.path == "RedirectURL" {
			pairs = append(pairs, f.path, f.label)
		}
	}
	for name, words := range stepWords {
		pairs = append(pairs, "the step "+strconv.Quote(name), "the step "+strconv.Quote(words.title))
	}
	return strings.NewReplacer(pairs...)
}()

// sentence makes a sentence of what the library says, which may be one already.
func sentence(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:] + "."
}

// awaitCheck is what the frame for the test shows before it.
func (e *editor) awaitCheck(c *call) {
	c.startBare(http.StatusOK)
	c.part("await", nil)
	c.part("end", nil)
}

// startBare begins a page without header and navigation, whose parts are sent one by
// one, unless that is done.
func (c *call) startBare(status int) {
	if c.begun {
		return
	}
	c.begun = true
	setHeaders(c.w, c)
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.Header().Set("X-Accel-Buffering", "no") // a proxy that collects answers would collect the steps
	c.w.WriteHeader(status)
	c.part("start", c.view("Test of the profile", nil))
}

// part sends a part of the page, and reports whether that went well.
func (c *call) part(name string, data any) bool {
	var part strings.Builder
	if err := c.look.pages["check"].ExecuteTemplate(&part, name, data); err != nil {
		c.logger.Error("a page of the console cannot be made", "page", c.name, "error", err.Error())
		return false
	}
	if _, err := io.WriteString(c.w, part.String()); err != nil {
		return false
	}
	err := http.NewResponseController(c.w).Flush()
	return err == nil || errors.Is(err, http.ErrNotSupported)
}

// check tests what was typed, without saving it, and shows each step as it ends.
func (e *editor) check(c *call) {
	f, ok := e.readForm(c)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), checkTime)
	defer cancel()
	// A server's own limit may be shorter. One without deadlines has none.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(checkTime + 10*time.Second))

	c.startBare(http.StatusOK)
	e.showSteps(ctx, c, f)
	c.part("end", nil)
}

// showSteps shows the steps of the test, or why it is not made.
func (e *editor) showSteps(ctx context.Context, c *call, f *form) {
	err := e.read(ctx, f)
	if isKept := f.secret.choice == "keep" || f.key.choice == "keep"; isKept && err != nil {
		c.part("refused", "The stored secret cannot be read now, so nothing was tested. Try again in a moment.")
		return
	} else if isKept && f.stored == nil {
		c.part("refused", "The profile was deleted in the meantime, and its secret with it, so nothing was tested. Type the secret again to test what is in the form.")
		return
	}
	p := f.resolve()
	if len(f.problems) == 0 {
		f.validate()
	}
	if len(f.problems) > 0 {
		c.part("problems", f.problems)
		return
	}
	failed, tested := 0, 0
	for s := range e.Manager.CheckSteps(ctx, p) {
		if s.Outcome == authprofile.StepFailed {
			failed++
		}
		if s.Outcome != authprofile.StepSkipped {
			tested++
		}
		if !c.part("step", inWords(s)) {
			break
		}
	}
	var outcome error
	if failed > 0 {
		outcome = errTestFailed
	}
	c.audit(c.action, authprofile.GrantKey{ProfileID: p.ID}, outcome)
	c.part("summary", struct {
		Failed, Tested int
		InTime         bool
	}{failed, tested, ctx.Err() == nil})
}

var errTestFailed = errors.New("the test has found a problem")
