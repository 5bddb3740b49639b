package apidocs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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

// browser is a headless Chromium.
type browser struct {
	ctx context.Context
}

// startBrowser runs a Chromium as long as the test. It can reach the loopback interface only.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatalf("%v (scripts/need chromium installs it)", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeAll := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		closeAll()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &browser{ctx: ctx}
}

// look is how a page is looked at.
type look struct {
	dark  bool
	phone bool
}

// tab is a page of one site. It notes what the site may not do: ask another host, break the
// Content-Security-Policy, throw.
type tab struct {
	t    *testing.T
	ctx  context.Context
	site string // http://host:port

	mu      sync.Mutex
	asked   map[string]int // requests by URL
	trouble []string
}

// open opens a page of a site in a new tab.
func (b *browser) open(t *testing.T, site, path string, l look) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	tb := &tab{t: t, ctx: ctx, site: site, asked: make(map[string]int)}
	t.Cleanup(func() {
		tb.judge(t)
		closeTab()
	})
	if err := chromedp.Listen(ctx, tb.note); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	scheme, screen := "light", emulation.SetDeviceMetricsOverrideParams{Width: 1280, Height: 900, DeviceScaleFactor: 1}
	if l.dark {
		scheme = "dark"
	}
	if l.phone {
		screen.Width, screen.Height, screen.Mobile = 390, 844, true
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	tb.do("open "+path,
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
func (tb *tab) note(event any) {
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

func (tb *tab) askedFor(address string) {
	tb.asked[address]++
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "data" || u.Scheme == "blob" || strings.HasSuffix(tb.site, "//"+u.Host)) {
		return
	}
	tb.trouble = append(tb.trouble, "a request to another host: "+address)
}

// judge fails the test for everything that a page may never do.
func (tb *tab) judge(t *testing.T) {
	t.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, trouble := range tb.trouble {
		t.Errorf("the page: %s", trouble)
	}
	tb.trouble = nil
}

// do runs actions, and fails the test with a picture if one cannot be done.
func (tb *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		tb.shoot("failed")
		tb.t.Fatalf("%s: %v", what, err)
	}
}

// js evaluates an expression, which may be a promise, for its value. Chromium's protocol is not
// bound by the policy of the page.
func js[T any](tb *tab, expression string) T {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%.200s: %v", expression, err)
	}
	return value
}

// run evaluates an expression for what it does.
func (tb *tab) run(expression string) {
	tb.t.Helper()
	js[chromedp.Void](tb, expression)
}

// click clicks the first element that a CSS selector finds, when it can be seen.
func (tb *tab) click(selector string) {
	tb.t.Helper()
	tb.do("click "+selector, chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// fill puts text into a field as a person does: what was there goes.
func (tb *tab) fill(selector, text string) {
	tb.t.Helper()
	tb.do("fill "+selector, chromedp.WaitVisible(chromedp.CSS(selector)))
	tb.run(fmt.Sprintf(`(() => {
		const field = document.querySelector(%q);
		field.focus();
		field.select();
	})()`, selector))
	tb.do("fill "+selector, command(input.InsertText, input.InsertTextParams{Text: text}))
}

// choose sets a select element.
func (tb *tab) choose(selector, value string) {
	tb.t.Helper()
	tb.run(fmt.Sprintf(`(() => {
		const s = document.querySelector(%q);
		s.value = %q;
		s.dispatchEvent(new Event("change", { bubbles: true }));
	})()`, selector, value))
}

// chosen is the text of what is chosen in a select element.
func (tb *tab) chosen(selector string) string {
	tb.t.Helper()
	return js[string](tb, fmt.Sprintf(`document.querySelector(%q).selectedOptions[0].text`, selector))
}

// text is what the first element that a selector finds shows. It is empty if there is none, or if
// it is hidden.
func (tb *tab) text(selector string) string {
	tb.t.Helper()
	return js[string](tb, fmt.Sprintf(`(() => {
		const element = document.querySelector(%q);
		return element?.checkVisibility() ? element.innerText : "";
	})()`, selector))
}

// wait waits until an element shows all of the texts, and returns what it shows.
func (tb *tab) wait(selector string, wants ...string) string {
	tb.t.Helper()
	got := ""
	kit.Eventually(tb.t, patience, fmt.Sprintf("%s shows %q", selector, wants), func() error {
		got = tb.text(selector)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				return fmt.Errorf("it shows:\n%s", got)
			}
		}
		return nil
	})
	return got
}

// shoot takes a picture of the whole page. It goes to out/apidocs, for people to look at.
func (tb *tab) shoot(name string) {
	tb.t.Helper()
	dir := filepath.Join(kit.RootDir(tb.t), "e2e", "out", "apidocs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		tb.t.Errorf("take a picture: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		tb.t.Error(err)
	}
}

// operation unfolds a call in the list of Swagger UI, and returns the selector of its block.
func (tb *tab) operation(method, path string) string {
	tb.t.Helper()
	block := fmt.Sprintf(`.opblock-%s:has(> .opblock-summary [data-path=%q])`, strings.ToLower(method), path)
	tb.click(block + " .opblock-summary-control")
	tb.do("unfold "+path, chromedp.WaitVisible(chromedp.CSS(block+" .execute")))
	return block
}

// violation is what axe found.
type violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	} `json:"nodes"`
}

// axe has the page judged by axe-core.
func (tb *tab) axe() []violation {
	tb.t.Helper()
	script, err := os.ReadFile(filepath.Join(packages(tb.t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		tb.t.Fatal(err)
	}
	tb.run(string(script))
	raw := js[string](tb, `axe.run(document, { resultTypes: ["violations"] }).then((r) => JSON.stringify(r.violations))`)
	var found []violation
	if err := json.Unmarshal([]byte(raw), &found); err != nil {
		tb.t.Fatal(err)
	}
	return found
}
