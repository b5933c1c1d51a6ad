package cli

import (
	"io"

	"github.com/cli/browser"
)

// openBrowser opens an address in the user's browser. What the browser has to say
// is not for this program's output.
func openBrowser(address string) error {
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	return browser.OpenURL(address)
}

// isRemote reports whether the user sits at another machine, so that a browser that
// is opened here would not be seen.
func (a *app) isRemote() bool {
	return a.env["SSH_CONNECTION"] != "" && a.env["DISPLAY"] == "" && a.env["WAYLAND_DISPLAY"] == ""
}
