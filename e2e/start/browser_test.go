package start

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// patience is how long something on a page may take before the test gives up.
const patience = time.Minute

// tab is a page in a headless Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// openTab opens an address. The browser trusts the authorities in a PEM file, if there is one.
// That stands for importing them.
func openTab(t *testing.T, address, authorities string) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
	)
	if authorities != "" {
		options = append(options, chromedp.Flag("ignore-certificate-errors-spki-list", keysOf(t, authorities)))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeAll := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		closeAll()
		stop()
	})
	// The browser lives as long as the context of its first action, which therefore has no timeout.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	p := &tab{t: t, ctx: ctx}
	p.do("open "+address, chromedp.Navigate(address))
	return p
}

// keysOf are the hashes of the public keys in a PEM file, as Chromium wants them.
func keysOf(t *testing.T, path string) string {
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

func (p *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.shoot("failed")
		p.t.Fatalf("%s: %v", what, err)
	}
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do("fill "+selector, chromedp.WaitVisible(chromedp.CSS(selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}

// wait waits until an element shows all of the texts.
func (p *tab) wait(selector string, wants ...string) {
	p.t.Helper()
	script := fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector)
	kit.Eventually(p.t, patience, fmt.Sprintf("%s shows %q", selector, wants), func() error {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
		if err != nil {
			return err
		}
		for _, want := range wants {
			if !strings.Contains(got, want) {
				return fmt.Errorf("it shows:\n%s", got)
			}
		}
		return nil
	})
}

// shoot leaves a picture in out/start, for people to look at.
func (p *tab) shoot(name string) {
	dir := filepath.Join(kit.RootDir(p.t), "e2e", "out", "start")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Errorf("take a picture: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		p.t.Error(err)
	}
}

// needs fails the test if a program is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v (scripts/need installs it)", err)
		}
	}
}
