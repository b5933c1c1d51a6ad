package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
)

const (
	atOnce      = 8           // actions of one request that run at the same time
	severalTime = time.Minute // what all of them may take
)

// A resultsPage shows what has become of each grant.
type resultsPage struct {
	Results []result
	Done    int // how many of them it was done with
	Back    string
}

// A result is what has become of one grant.
type result struct {
	authprofile.GrantKey
	outcome
}

// several does one thing with all grants that are chosen in the list.
func (h *Handler) several(c *call) {
	keys, ok := chosenKeys(c.form["grant"])
	action, back := c.form.Get("action"), listAddress(c.form.Get("back"))
	switch {
	case !ok:
		c.problem(http.StatusBadRequest, "The form could not be read", fmt.Sprintf("It may name at most %d grants. Nothing was changed. Go back to the list and select them there.", listLength))
	case len(keys) == 0:
		c.problem(http.StatusBadRequest, "No grant is selected", "Nothing was changed. Go back and select at least one.")
	case action == "renew":
		h.doSeveral(c, "renew", keys, back, h.renewGrant)
	case action == "revoke" && c.form.Get("sure") != "yes":
		h.askSeveral(c, keys, back)
	case action == "revoke":
		h.doSeveral(c, "revoke", keys, back, h.revokeGrant)
	default:
		c.problem(http.StatusBadRequest, "The form could not be read", "It does not say what to do. Nothing was changed. Go back to the list and use its buttons.")
	}
}

// chosenKeys reads which grants a form names, each once.
func chosenKeys(values []string) (keys []authprofile.GrantKey, ok bool) {
	for _, text := range values {
		fields, err := url.ParseQuery(text)
		key := authprofile.GrantKey{ProfileID: fields.Get("profile"), User: fields.Get("user")}
		if err != nil || !isGrantKey(key) {
			return nil, false
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, len(keys) <= listLength
}

// listAddress returns the address of the list to go back to. What a form says counts
// only as far as the list itself could have said it.
func listAddress(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "grants"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "grants"
	}
	q, err := readGrantsQuery(query)
	if err != nil {
		return "grants"
	}
	return q.address(q.After)
}

func (h *Handler) askSeveral(c *call, keys []authprofile.GrantKey, back string) {
	page := revokePage{Action: "several", Several: true, Back: back, What: []string{
		"These grants are deleted here. Providers that have a revocation address are told to end the tokens.",
		"Programs get no more tokens for these users until they connect their accounts again. An application's own grant is created again when a program asks for a token.",
		"Other processes may use the current access tokens until they end, or for about an hour if the end is not known.",
	}}
	for _, key := range keys {
		page.Keys = append(page.Keys, chosenGrant{GrantKey: key})
	}
	title := "Revoke this grant?"
	if len(keys) > 1 {
		title = fmt.Sprintf("Revoke these %d grants?", len(keys))
	}
	c.show(http.StatusOK, "revoke", c.view(title, page))
}

// doSeveral does the same with all grants, some at a time, and answers with what has
// become of each.
func (h *Handler) doSeveral(c *call, name string, keys []authprofile.GrantKey, back string, act func(context.Context, authprofile.GrantKey) outcome) {
	ctx, cancel := c.within(severalTime)
	defer cancel()
	page := resultsPage{Results: make([]result, len(keys)), Back: back}
	var wg sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i, key := range keys {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			o := c.guarded(ctx, key, act)
			c.audit(name, key, o.err)
			page.Results[i] = result{key, o}
		})
	}
	wg.Wait()
	for _, r := range page.Results {
		if r.Done {
			page.Done++
		}
	}
	verb := "renewed"
	if name == "revoke" {
		verb = "revoked"
	}
	c.show(http.StatusOK, "results", c.view(fmt.Sprintf("%d of %d %s", page.Done, len(keys), verb), page))
}

// guarded acts on one grant, in a goroutine of its own: a Store that panics must not
// end the program. It does nothing once the time is up.
func (c *call) guarded(ctx context.Context, key authprofile.GrantKey, act func(context.Context, authprofile.GrantKey) outcome) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			err := fmt.Errorf("panic: %T", p)
			c.logger.Error("the console has panicked", "page", c.name, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			o = outcome{Text: "Something went wrong. This is a fault in the program. Its log has the details.", err: err}
		}
	}()
	if err := ctx.Err(); err != nil {
		return outcome{Text: "There was not enough time for it. Nothing was changed. Try again.", err: err}
	}
	return act(ctx, key)
}
