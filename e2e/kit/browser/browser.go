// Package browser drives a headless Chromium for the end-to-end tests. It also judges what a page
// may never do: ask another host, break its Content-Security-Policy, throw. It is for pages that
// people use; kit.Page is for scripts that call the gateway.
package browser

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// patience is how long something on a page may take before the test gives up.
const patience = 2 * time.Minute

// Options of a browser.
type Options struct {
	// Pictures is the directory below e2e/out that pictures go to, for people to look at.
	Pictures string
	// Authorities is a PEM file with certificates that the browser accepts. That stands for
	// importing them. Default: none.
	Authorities string
	// Others are hosts besides its own that a page may ask, as host:port. Default: none.
	Others []string
}

// Browser is a headless Chromium.
type Browser struct {
	ctx  context.Context
	opts Options
}

// Start runs a Chromium as long as the test. It can reach the loopback interface only.
func Start(t testing.TB, opts Options) *Browser {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatalf("%v (scripts/need chromium installs it)", err)
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
	)
	if opts.Authorities != "" {
		flags = append(flags, chromedp.Flag("ignore-certificate-errors-spki-list", keysOf(t, opts.Authorities)))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	ctx, closeAll := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		closeAll()
		stop()
	})
	// The browser lives as long as the context of its first action, which therefore has no timeout.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &Browser{ctx: ctx, opts: opts}
}

// keysOf are the hashes of the public keys in a PEM file, as Chromium wants them.
func keysOf(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
		keys = append(keys, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return strings.Join(keys, ",")
}

// Look is how a page is looked at. The zero value is light, on a screen.
type Look struct {
	Dark  bool
	Phone bool
}

// Tab is a page of one site. It notes what the site may not do.
type Tab struct {
	// T is the test that fails. A subtest may put itself in place of the one that opened the tab.
	T testing.TB

	ctx  context.Context
	site string // http://host:port
	opts Options

	mu      sync.Mutex
	asked   map[string]int // requests by URL
	trouble []string
}

// Open opens a page of a site, http://host:port, in a new tab. When the test ends, it fails for
// what the page was seen to do and may not.
func (b *Browser) Open(t testing.TB, site, path string, l Look) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	tb := &Tab{T: t, ctx: ctx, site: site, opts: b.opts, asked: make(map[string]int)}
	t.Cleanup(func() {
		tb.judge(t)
		closeTab()
	})
	if err := chromedp.Listen(ctx, tb.note); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	scheme, screen := "light", emulation.SetDeviceMetricsOverrideParams{Width: 1280, Height: 900, DeviceScaleFactor: 1}
	if l.Dark {
		scheme = "dark"
	}
	if l.Phone {
		screen.Width, screen.Height, screen.Mobile = 390, 844, true
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	tb.Do("open "+path,
		command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), command(runtime.Enable, cdp.Empty{}),
		command(emulation.SetEmulatedMedia, media), command(emulation.SetDeviceMetricsOverride, screen),
		command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `document.addEventListener("securitypolicyviolation", (e) => console.error("POLICY " + e.violatedDirective + " " + e.blockedURI + " " + e.sourceFile + ":" + e.lineNumber))`}),
		chromedp.Navigate(site+path),
	)
	return tb
}

// command is a command of Chromium's protocol as a step.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, c, params)
		return err
	})
}

// note keeps what a page does. Chromium's events come one at a time.
func (tb *Tab) note(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		tb.askedFor(e.Request.URL)
	case *network.EventWebSocketCreated:
		tb.askedFor(e.URL)
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			tb.trouble = append(tb.trouble, "log: "+e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		tb.trouble = append(tb.trouble, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		for _, arg := range e.Args {
			if text := string(arg.Value); strings.Contains(text, "POLICY ") {
				tb.trouble = append(tb.trouble, "console: "+text)
			}
		}
	}
}

// askedFor notes a request. Caller must hold tb.mu.
func (tb *Tab) askedFor(address string) {
	tb.asked[address]++
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "data" || u.Scheme == "blob" || strings.HasSuffix(tb.site, "//"+u.Host) || slices.Contains(tb.opts.Others, u.Host)) {
		return
	}
	tb.trouble = append(tb.trouble, "a request to another host: "+address)
}

// Asked returns how often the page has made each request, by its URL.
func (tb *Tab) Asked() map[string]int {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return maps.Clone(tb.asked)
}

// TakeTrouble returns what the page has done and may not, and forgets it.
func (tb *Tab) TakeTrouble() []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	trouble := tb.trouble
	tb.trouble = nil
	return trouble
}

// judge fails the test for everything that a page may never do.
func (tb *Tab) judge(t testing.TB) {
	t.Helper()
	for _, trouble := range tb.TakeTrouble() {
		t.Errorf("the page: %s", trouble)
	}
}

// Do runs actions, and fails the test with a picture if one cannot be done.
func (tb *Tab) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	tb.T.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		tb.Shoot("failed")
		tb.T.Fatalf("%s: %v", what, err)
	}
}

// JS evaluates an expression, which may be a promise, for its value. Chromium's protocol is not
// bound by the policy of the page.
func JS[T any](tb *Tab, expression string) T {
	tb.T.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.T.Fatalf("%.200s: %v", expression, err)
	}
	return value
}

// Run evaluates an expression for what it does.
func (tb *Tab) Run(expression string) {
	tb.T.Helper()
	JS[chromedp.Void](tb, expression)
}

// Click clicks the first element that a CSS selector finds, when it can be seen. The element may
// move after the browser has measured where it is. A click that would meet something else is kept
// from the page, and made anew.
func (tb *Tab) Click(selector string) {
	tb.T.Helper()
	kit.Eventually(tb.T, patience, "click "+selector, func() error {
		tb.Do("find "+selector, chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.WaitVisible(chromedp.CSS(selector)))
		tb.Run(fmt.Sprintf(aim, selector))
		tb.Do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
		if met := JS[string](tb, `window.takeAim?.() ?? ""`); met != "" {
			return fmt.Errorf("the click met %s", met)
		}
		return nil
	})
}

// aim makes a page tell an element from everything else for one click. window.takeAim ends that,
// and tells what was met in place of the element. A click that leads to another page met it.
const aim = `(() => {
	const target = document.querySelector(%q);
	const kinds = ["pointerdown", "mousedown", "pointerup", "mouseup", "click"];
	let met = "nothing";
	const judge = (event) => {
		if (met === "") return; // a click may lead to another, as that on a label does
		if (target.contains(event.target)) {
			if (event.type === "click") met = "";
			return;
		}
		event.stopImmediatePropagation();
		event.preventDefault();
		met = event.target.outerHTML?.slice(0, 200) ?? String(event.target);
	};
	for (const kind of kinds) addEventListener(kind, judge, true);
	window.takeAim = () => {
		for (const kind of kinds) removeEventListener(kind, judge, true);
		delete window.takeAim;
		return met;
	};
})()`

// Fill puts text into a field as a person does: what was there goes.
func (tb *Tab) Fill(selector, text string) {
	tb.T.Helper()
	tb.Do("fill "+selector, chromedp.WaitVisible(chromedp.CSS(selector)))
	tb.Run(fmt.Sprintf(`(() => {
		const field = document.querySelector(%q);
		field.focus();
		field.select();
	})()`, selector))
	tb.Do("fill "+selector, command(input.InsertText, input.InsertTextParams{Text: text}))
}

// Press presses a key, such as Enter, where the focus is.
func (tb *Tab) Press(key string) {
	tb.T.Helper()
	text := map[string]string{"Enter": "\r", "Space": " "}[key]
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		tb.Do("press "+key, command(input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: kind, Key: key, Code: key, Text: text, WindowsVirtualKeyCode: map[string]int64{"Enter": 13, "Space": 32}[key],
		}))
	}
}

// Choose sets a select element.
func (tb *Tab) Choose(selector, value string) {
	tb.T.Helper()
	tb.Run(fmt.Sprintf(`(() => {
		const s = document.querySelector(%q);
		s.value = %q;
		s.dispatchEvent(new Event("change", { bubbles: true }));
	})()`, selector, value))
}

// Chosen is the text of what is chosen in a select element.
func (tb *Tab) Chosen(selector string) string {
	tb.T.Helper()
	return JS[string](tb, fmt.Sprintf(`document.querySelector(%q).selectedOptions[0].text`, selector))
}

// Text is what the first element that a selector finds shows. It is empty if there is none, or if
// it is hidden.
func (tb *Tab) Text(selector string) string {
	tb.T.Helper()
	return JS[string](tb, fmt.Sprintf(`(() => {
		const element = document.querySelector(%q);
		return element?.checkVisibility() ? element.innerText : "";
	})()`, selector))
}

// Wait waits until an element shows all of the texts, and returns what it shows.
func (tb *Tab) Wait(selector string, wants ...string) string {
	tb.T.Helper()
	got := ""
	kit.Eventually(tb.T, patience, fmt.Sprintf("%s shows %q", selector, wants), func() error {
		got = tb.Text(selector)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				return fmt.Errorf("it shows:\n%s", got)
			}
		}
		return nil
	})
	return got
}

// Shoot takes a picture of the whole page, for people to look at.
func (tb *Tab) Shoot(name string) {
	tb.T.Helper()
	dir := filepath.Join(kit.RootDir(tb.T), "e2e", "out", tb.opts.Pictures)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.T.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		tb.T.Errorf("take a picture: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		tb.T.Error(err)
	}
}

// Widest names an element that makes the page wider than the window. It is empty if there is none.
func (tb *Tab) Widest() string {
	tb.T.Helper()
	return JS[string](tb, `(() => {
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= width) return "";
		const scrolls = (e) => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
		const wide = [...document.querySelectorAll("body *")].find((e) => e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement));
		return document.documentElement.scrollWidth + " > " + width + ": " + (wide ? wide.outerHTML.slice(0, 300) : "?");
	})()`)
}

// Violation is what axe found.
type Violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	// Nodes are where.
	Nodes []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	} `json:"nodes"`
}

// Axe makes axe-core judge the page.
func (tb *Tab) Axe() []Violation {
	tb.T.Helper()
	script, err := os.ReadFile(filepath.Join(kit.NPMPackages(tb.T, "browser", filepath.Join(kit.RootDir(tb.T), "e2e", "kit", "browser", "testdata", "npm")), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		tb.T.Fatal(err)
	}
	tb.Run(string(script))
	raw := JS[string](tb, `axe.run(document, { resultTypes: ["violations"] }).then((r) => JSON.stringify(r.violations))`)
	var found []Violation
	if err := json.Unmarshal([]byte(raw), &found); err != nil {
		tb.T.Fatal(err)
	}
	return found
}
