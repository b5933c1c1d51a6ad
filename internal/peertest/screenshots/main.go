// Screenshots makes the pictures of the console that README.md and docs/console.md
// show, in a real Chromium, of the pages of examples/console:
//
//	go run ./internal/peertest/screenshots
//
// makes all of them, and with names of pages behind it those only.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"log"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("screenshots: ")
	dir := flag.String("o", filepath.Join("docs", "console"), "`directory` of the pictures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// A picture is of one page, which is where the address and then the links lead.
type picture struct {
	name, path string
	links      []string // their texts
	height     int64    // at which a longer page is cut off, in pixels
	before     string   // a script to be run before; it may return a promise
}

var pictures = []picture{
	{"overview", "/auth/", nil, 1500, ""},
	{"profile", "/auth/profiles", []string{"Calendar"}, 1500, testProfile},
	{"grant", "/auth/grant?profile=contacts&user=olga", nil, 1600, ""},
	{"attention", "/auth/attention", nil, 1200, ""},
	{"connections", "/connections/?profile=files", nil, 1200, ""},
}

// testProfile presses the button Test, and waits for the last step.
const testProfile = `new Promise(done => {
	document.querySelector("iframe").addEventListener("load", () => done(true), {once: true});
	document.querySelector("button[formtarget]").click();
})`

// The size of the window, in pixels. The page may be longer.
const width, minHeight = 1200, 500

// timeLimit is how long all of it may take.
const timeLimit = 3 * time.Minute

// run makes pictures, light and dark, of the pages with those names, or of all.
func run(ctx context.Context, dir string, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	for _, name := range names {
		if !slices.ContainsFunc(pictures, func(p picture) bool { return p.name == name }) {
			return fmt.Errorf("there is no picture %q", name)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	site, stop, err := startSite(ctx)
	if err != nil {
		return err
	}
	ctx, cancel, err = startBrowser(ctx)
	if err != nil {
		return errors.Join(err, stop())
	}
	defer cancel()
	err = chromedp.Run(ctx,
		chromedp.Navigate(site),
		chromedp.SendKeys("input[autocomplete=username]", "olga\r", chromedp.ByQuery),
		chromedp.WaitVisible(`//h1[contains(., "olga")]`),
	)
	for _, p := range pictures {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		for _, scheme := range []string{"light", "dark"} {
			if err == nil {
				if err = p.take(ctx, site, scheme, filepath.Join(dir, p.name+"-"+scheme+".png")); err != nil {
					err = fmt.Errorf("%s: %w", p.name, err)
				}
			}
		}
	}
	return errors.Join(err, stop())
}

// startSite builds examples/console and starts it. It returns its address, and how to
// stop it.
func startSite(ctx context.Context) (address string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "screenshots")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	program := filepath.Join(dir, "console")
	_, here, _, _ := goruntime.Caller(0)
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./console")
	build.Dir = filepath.Join(filepath.Dir(here), "..", "..", "..", "examples")
	if out, err := build.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("%w\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, "-listen", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait())
		return errors.Join(err, os.RemoveAll(dir))
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address = regexp.MustCompile(`http://[^ ]+/`).FindString(line)
	if address == "" {
		return "", nil, errors.Join(fmt.Errorf("the example says %q, and no address", line), err, stop())
	}
	return address, stop, nil
}

// startBrowser starts a headless Chromium that reaches loopback and nothing else.
func startBrowser(ctx context.Context) (context.Context, context.CancelFunc, error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.WindowSize(width, minHeight),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("disable-lcd-text", true), // grey letters, whose pictures are smaller
		chromedp.Flag("hide-scrollbars", true),
	)
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	ctx, _ = chromedp.NewContext(ctx)
	cancel := func() {
		_ = chromedp.Cancel(ctx) // politely, and waits: its processes leave nothing behind
		stop()
	}
	if err := chromedp.Run(ctx); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("starting Chromium: %w", err)
	}
	return ctx, cancel, nil
}

// take takes the picture and writes it to a file.
func (p picture) take(ctx context.Context, site, scheme, file string) error {
	err := chromedp.Run(ctx,
		emulation.SetDeviceMetricsOverride(width, minHeight, 1, false),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
	)
	if err != nil {
		return err
	}
	steps := []chromedp.Action{chromedp.Navigate(site[:len(site)-1] + p.path)}
	for _, text := range p.links {
		steps = append(steps, chromedp.Click(fmt.Sprintf("//main//a[normalize-space()=%q]", text)))
	}
	for _, step := range steps {
		answer, err := chromedp.RunResponse(ctx, step)
		if err != nil {
			return err
		}
		if answer == nil || answer.Status != 200 && answer.Status != 304 {
			return fmt.Errorf("got %+v, want a page", answer)
		}
	}
	if p.before != "" {
		wait := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
		if err := chromedp.Run(ctx, chromedp.Evaluate(p.before, nil, wait)); err != nil {
			return err
		}
	}
	var height int64
	var shot []byte
	err = chromedp.Run(ctx,
		chromedp.Evaluate("Math.ceil(document.documentElement.getBoundingClientRect().height)", &height),
		chromedp.ActionFunc(func(ctx context.Context) (err error) {
			shot, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).WithClip(&page.Viewport{
				Width: width, Height: float64(min(max(height, minHeight), p.height)), Scale: 1,
			}).Do(ctx)
			return err
		}),
	)
	if err != nil {
		return err
	}
	if shot, err = smaller(shot); err != nil {
		return err
	}
	return os.WriteFile(file, shot, 0o666)
}

// smaller returns a picture in the 256 colours that it has most of.
func smaller(shot []byte) ([]byte, error) {
	whole, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	count := make(map[color.RGBA]int)
	bounds := whole.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[color.RGBAModel.Convert(whole.At(x, y)).(color.RGBA)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range colors[:min(len(colors), 256)] {
		palette = append(palette, c)
	}
	few := image.NewPaletted(bounds, palette)
	draw.Draw(few, bounds, whole, bounds.Min, draw.Src)
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, few); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
