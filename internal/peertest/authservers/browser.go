package authservers

import (
	"context"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/chromedp/chromedp"
)

// Browser starts a headless Chromium that reaches loopback and nothing else,
// and returns the context to give to chromedp.Run. It ends with the test, or
// after a minute.
func Browser(t testing.TB) context.Context {
	t.Helper()
	return BrowserFor(t, time.Minute)
}

// BrowserFor is Browser with another limit of time.
func BrowserFor(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	path := require.Tool(t, "chromium", "install Chromium (Debian: apt-get install chromium)", "chromium-browser", "google-chrome")
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.WindowSize(1000, 700),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
	)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	t.Cleanup(func() { chromedp.Cancel(ctx) }) // politely, and waits: its processes leave nothing behind
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return ctx
}
