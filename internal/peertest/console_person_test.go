package peertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A person uses pages in a browser by what they say: by the roles and names that
// a screen reader reads out. With keyboard set, by nothing but keys, and each element
// that has the focus must show it.
type person struct {
	t        *testing.T
	ctx      context.Context
	keyboard bool
}

// patience is how long a person waits for a page or an element.
const patience = 10 * time.Second

// do runs what talks to the browser.
func (p *person) do(what string, f func(context.Context) error) {
	p.t.Helper()
	if err := chromedp.Run(p.ctx, chromedp.ActionFunc(f)); err != nil {
		p.t.Fatalf("in the browser, %s: %v", what, err)
	}
}

// await tries f until it is true. What it waits for is told if that never happens.
func (p *person) await(what func() string, f func(context.Context) (bool, error)) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	var last error
	for time.Now().Before(deadline) {
		done := false
		err := chromedp.Run(p.ctx, chromedp.ActionFunc(func(ctx context.Context) (err error) {
			done, err = f(ctx)
			return err
		}))
		if done && err == nil {
			return
		}
		last = err
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			p.t.Fatalf("in the browser, waiting for %s: %v", what(), p.ctx.Err())
		}
	}
	p.t.Fatalf("in the browser, %s: got none in %v (%v), want it on\n%s", what(), patience, last, p.text())
}

// opens goes to an address.
func (p *person) opens(address string) {
	p.t.Helper()
	run(p.t, p.ctx, "open "+address, chromedp.Navigate(address))
}

// evaluate returns the value of an expression.
func evaluate(ctx context.Context, expression string, value any) error {
	return chromedp.Evaluate(expression, value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	}).Do(ctx)
}

// text is what the page says.
func (p *person) text() (text string) {
	p.t.Helper()
	p.do("read the page", func(ctx context.Context) error {
		return evaluate(ctx, "location.href + '\\n' + document.body.innerText", &text)
	})
	return text
}

// An element of a page, by what a screen reader says of it.
type element struct {
	role, name, value string
	id                runtime.RemoteObjectID
}

// elements returns what has the role, in a document: an expression.
func elements(ctx context.Context, document, role string) (list []element, err error) {
	root, exception, err := runtime.Evaluate(document).Do(ctx)
	if err != nil || exception != nil || root.ObjectID == "" {
		return nil, errors.Join(err, errors.New("there is no document"))
	}
	nodes, err := accessibility.QueryAXTree().WithObjectID(root.ObjectID).WithRole(role).Do(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if n.Ignored || n.BackendDOMNodeID == 0 {
			continue
		}
		e := element{role: role, name: axText(n.Name), value: axText(n.Value)}
		object, err := dom.ResolveNode().WithBackendNodeID(n.BackendDOMNodeID).Do(ctx)
		if err != nil {
			return nil, err
		}
		e.id = object.ObjectID
		list = append(list, e)
	}
	return list, nil
}

func axText(v *accessibility.Value) (text string) {
	if v != nil {
		_ = json.Unmarshal(v.Value, &text) // what is no text is left empty
	}
	return strings.TrimSpace(text)
}

// finds waits for the one element that has the role and the name. A name that ends
// in "…" stands for all that begin so.
func (p *person) finds(role, name string) element {
	p.t.Helper()
	return p.findsIn("document", role, name)
}

func (p *person) findsIn(document, role, name string) (found element) {
	p.t.Helper()
	var names []string
	p.await(func() string { return fmt.Sprintf("%s %q among %q", role, name, names) }, func(ctx context.Context) (bool, error) {
		list, err := elements(ctx, document, role)
		names = nil
		n := 0
		for _, e := range list {
			names = append(names, e.name)
			if begin, some := strings.CutSuffix(name, "…"); e.name == name || some && strings.HasPrefix(e.name, begin) {
				if n == 0 {
					found = e
				}
				n++
			}
		}
		return n == 1, err
	})
	return found
}

// sees waits for a text anywhere on the page.
func (p *person) sees(text string) {
	p.t.Helper()
	p.await(func() string { return fmt.Sprintf("the text %q", text) }, func(ctx context.Context) (bool, error) {
		var all string
		err := evaluate(ctx, "document.body.innerText", &all)
		return strings.Contains(all, text), err
	})
}

// ask calls a function on an element.
func ask(ctx context.Context, e element, function string, value any) error {
	result, exception, err := runtime.CallFunctionOn(function).WithObjectID(e.id).WithReturnByValue(true).WithAwaitPromise(true).Do(ctx)
	if err != nil {
		return err
	}
	if exception != nil {
		return exception
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(result.Value, value)
}

// key presses a key.
func (p *person) key(key string, modifiers ...input.Modifier) {
	p.t.Helper()
	run(p.t, p.ctx, "press a key", chromedp.KeyEvent(key, chromedp.KeyModifiers(modifiers...)))
}

// reaches moves the focus to an element: by Tab, or by a click.
func (p *person) reaches(e element) {
	p.t.Helper()
	if !p.keyboard {
		p.clicks(e)
		return
	}
	const most = 200 // the longest way around a page
	for range most {
		var state struct{ Here, Seen bool }
		p.do("ask for the focus", func(ctx context.Context) error {
			return ask(ctx, e, `function() {
				const at = this.ownerDocument.activeElement, style = getComputedStyle(at);
				const group = this.type === "radio" && at.type === "radio" && at.name === this.name;
				return {Here: at === this || group, Seen: at.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1};
			}`, &state)
		})
		if state.Here {
			if !state.Seen {
				p.t.Errorf("%s %q has the focus, and does not show it", e.role, e.name)
			}
			return
		}
		p.key(kb.Tab)
	}
	p.t.Fatalf("%s %q cannot be reached by Tab", e.role, e.name)
}

// clicks clicks in the middle of an element.
func (p *person) clicks(e element) {
	p.t.Helper()
	var x, y float64
	p.do(fmt.Sprintf("find %s %q on the screen", e.role, e.name), func(ctx context.Context) error {
		if err := dom.ScrollIntoViewIfNeeded().WithObjectID(e.id).Do(ctx); err != nil {
			return err
		}
		quads, err := dom.GetContentQuads().WithObjectID(e.id).Do(ctx)
		if err != nil {
			return err
		}
		if len(quads) == 0 || len(quads[0]) < 8 {
			return errors.New("it is not shown")
		}
		q := quads[0]
		x, y = (q[0]+q[2]+q[4]+q[6])/4, (q[1]+q[3]+q[5]+q[7])/4
		return nil
	})
	run(p.t, p.ctx, "click", chromedp.MouseClickXY(x, y))
}

// presses activates a button, a link, a checkbox or a summary.
func (p *person) presses(role, name string) {
	p.t.Helper()
	p.pressesIt(p.finds(role, name))
}

func (p *person) pressesIt(e element) {
	p.t.Helper()
	p.reaches(e)
	if p.keyboard {
		if e.role == "checkbox" || e.role == "radio" {
			p.key(" ")
		} else {
			p.key(kb.Enter)
		}
	}
}

// follows activates what leads to another page, and waits for that page.
func (p *person) follows(role, name string) {
	p.t.Helper()
	e := p.finds(role, name)
	p.leaves(fmt.Sprintf("%s %q", role, name), func() { p.pressesIt(e) })
}

// leaves does what leads to another page, and waits for that page.
func (p *person) leaves(what string, f func()) {
	p.t.Helper()
	p.do("mark the page", func(ctx context.Context) error { return evaluate(ctx, "window.isOld = true", nil) })
	f()
	p.await(func() string { return "the page after " + what }, func(ctx context.Context) (bool, error) {
		var arrived bool
		err := evaluate(ctx, "!window.isOld && document.readyState === 'complete'", &arrived)
		return arrived, err
	})
}

// types fills in a field by its label, in place of what is in it.
func (p *person) types(label, text string) {
	p.t.Helper()
	e := p.finds("textbox", label)
	p.reaches(e)
	p.key("a", input.ModifierCtrl)
	p.key(kb.Delete)
	if text != "" {
		p.do("type", func(ctx context.Context) error { return input.InsertText(text).Do(ctx) })
	}
}

// chooses chooses an option of a list, by the label of the list.
func (p *person) chooses(label, option string) {
	p.t.Helper()
	e := p.finds("combobox", label)
	if p.keyboard {
		p.reaches(e)
	} else {
		p.do("focus", func(ctx context.Context) error { return dom.Focus().WithObjectID(e.id).Do(ctx) })
	}
	p.key(kb.Home)
	for range 200 {
		var chosen string
		p.do("read the choice", func(ctx context.Context) error {
			return ask(ctx, e, "function() { return this.selectedOptions[0].text.trim() }", &chosen)
		})
		if chosen == option {
			return
		}
		p.key(kb.ArrowDown)
	}
	p.t.Fatalf("list %q: got no option %q", label, option)
}

// picks picks one of some radio buttons.
func (p *person) picks(name string) {
	p.t.Helper()
	e := p.finds("radio", name)
	p.reaches(e)
	isPicked := func() (picked bool) {
		p.t.Helper()
		p.do("read the choice", func(ctx context.Context) error {
			return ask(ctx, e, "function() { return this.checked }", &picked)
		})
		return picked
	}
	if p.keyboard && !isPicked() {
		p.key(" ")
	}
	for range 10 {
		if isPicked() {
			return
		}
		if !p.keyboard {
			break
		}
		p.key(kb.ArrowDown)
	}
	p.t.Fatalf("radio button %q: got it off, want it on", name)
}

// value is what a field has in it.
func (p *person) value(label string) (value string) {
	p.t.Helper()
	e := p.finds("textbox", label)
	p.do("read a field", func(ctx context.Context) error {
		return ask(ctx, e, "function() { return this.value }", &value)
	})
	return value
}

// has says whether the page has such an element now.
func (p *person) has(role, name string) (has bool) {
	p.t.Helper()
	p.do("look for an element", func(ctx context.Context) error {
		list, err := elements(ctx, "document", role)
		has = slices.ContainsFunc(list, func(e element) bool { return e.name == name })
		return err
	})
	return has
}

// at is where the browser is.
func (p *person) at() (address string) {
	p.t.Helper()
	run(p.t, p.ctx, "ask for the address", chromedp.Location(&address))
	return address
}

// withoutScript stops the scripts of pages.
func (p *person) withoutScript() {
	p.t.Helper()
	p.do("stop scripts", emulation.SetScriptExecutionDisabled(true).Do)
}

// onScreen makes the window as large as a screen.
func (p *person) onScreen(width, height int64) {
	p.t.Helper()
	run(p.t, p.ctx, "make the window fit", chromedp.EmulateViewport(width, height))
}

// inScheme asks pages for their light or dark colours.
func (p *person) inScheme(scheme string) {
	p.t.Helper()
	p.do("change the colours", emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}).Do)
}

// fits fails the test if the page is wider than the window.
func (p *person) fits() {
	p.t.Helper()
	var width struct {
		Page, Window float64
		Widest       string
	}
	p.do("measure the page", func(ctx context.Context) error {
		return evaluate(ctx, `(() => {
			const page = document.documentElement.scrollWidth, window = document.documentElement.clientWidth;
			let widest = "";
			if (page > window) for (const e of document.querySelectorAll("body *")) {
				if (e.getBoundingClientRect().right > window + 1 && !e.closest(".scroll")) widest = e.outerHTML.slice(0, 200);
			}
			return {Page: page, Window: window, Widest: widest};
		})()`, &width)
	})
	if width.Page > width.Window {
		p.t.Errorf("%s: got a page of %v pixels, want at most %v; because of %s", p.at(), width.Page, width.Window, width.Widest)
	}
}
