package start

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/browser"
)

// TestGettingStarted follows docs/getting-started.md: all its commands and files, and then the
// addresses that it tells the reader to open.
func TestGettingStarted(t *testing.T) {
	needs(t, "etcd", "protoc", "curl", "chromium")
	p := readPage(t, "docs/getting-started.md")
	rd := newReader(t, newRules(t, "2379", "2380", "9001", "9002", "2019", "8080", "8443", "8444"))
	rd.follow(t, p.blocks)

	visits := map[string]func(*browser.Tab){
		"https://localhost:8444/":      usePage,
		"https://localhost:8443/docs/": useDocs,
	}
	b := browser.Start(t, browser.Options{
		Pictures: "start", Authorities: filepath.Join(rd.where(), "root.pem"), Others: []string{rd.apply("localhost:8443")},
	})
	if addresses := p.addresses(); len(addresses) != len(visits) {
		t.Errorf("the page has the addresses %v, and the test can visit %d", addresses, len(visits))
	}
	for _, address := range p.addresses() {
		t.Run(address, func(t *testing.T) {
			visit := visits[address]
			if visit == nil {
				t.Fatal("the test does not know what to do there")
			}
			site, path, _ := strings.Cut(strings.TrimPrefix(rd.apply(address), "https://"), "/")
			visit(b.Open(t, "https://"+site, "/"+path, browser.Look{}))
		})
	}
}

// usePage calls the service from the reader's own page.
func usePage(page *browser.Tab) {
	page.T.Helper()
	page.Click("#greet")
	page.Wait("#answer", "Hello, Ada!")
	page.Click("#count")
	page.Wait("#answer", `{"number":3}`, `{"number":2}`, `{"number":1}`)
	page.Shoot("page")
}

// useDocs makes a call on the page of the API.
func useDocs(page *browser.Tab) {
	page.T.Helper()
	const greet = `.opblock-get:has(> .opblock-summary [data-path="/v1/greetings/{name}"])`
	page.Wait("#swagger-ui", "Greets one person.")
	page.Click(greet + " .opblock-summary-control")
	page.Fill(greet+" tr[data-param-name=name] input", "Grace")
	page.Click(greet + " .execute")
	page.Wait(greet+" .live-responses-table", "200", "Hello, Grace!")
	page.Shoot("docs")
}

// TestGettingStartedExample: the files of the page are those of the example, which is compiled and
// tested. Of a file that the page changes, the last form counts.
func TestGettingStartedExample(t *testing.T) {
	files := map[string]string{}
	for _, b := range readPage(t, "docs/getting-started.md").blocks {
		if name := b.attribute("file"); name != "" {
			files[name] = b.text
		}
	}
	if want := []string{"Caddyfile", "greet.proto", "main.go", "site/index.html"}; len(files) != len(want) {
		t.Errorf("the page has %d files, not %v", len(files), want)
	}
	for name, text := range files {
		raw, err := os.ReadFile(filepath.Join(kit.RootDir(t), "examples", "getting-started", name))
		if err != nil || string(raw) != text {
			t.Errorf("%s of the example is not the page's: %v", name, err)
		}
	}
}

// elsewhere are the blocks of the README that other tests run.
var elsewhere = map[string]string{
	"make demo\n": "TestQuickstart in e2e",
	"make test\n": "the gate, .ci/run",
}

// TestReadme runs the commands of README.md with its Caddyfile, in the order in which a reader
// comes to them. `make demo` and `make test` run elsewhere.
func TestReadme(t *testing.T) {
	needs(t, "etcd")
	rd := newReader(t, newRules(t, "2379", "2380", "2019", "8080"))
	registry := block{info: "sh terminal=etcd", text: "etcd --data-dir etcd-data"}
	rd.openTerminal(t, registry, pattern("ready to serve client requests"))
	rd.env = append(rd.env, "GOBIN="+filepath.Join(rd.home, "bin"), "PATH="+filepath.Join(rd.home, "bin")+":"+os.Getenv("PATH"))
	rd.run(t, block{info: "sh", text: "go install github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5"}, nil)

	var left []string
	for _, b := range readPage(t, "README.md").blocks {
		switch {
		case elsewhere[b.text] != "":
			left = append(left, b.text)
		case strings.HasPrefix(b.text, ":8080\n"):
			b.info = "caddyfile file=Caddyfile"
			rd.write(t, b)
		default:
			rd.runLines(t, b)
		}
	}
	if len(left) != len(elsewhere) || !slices.Contains(left, "make demo\n") {
		t.Errorf("the README has %q of what other tests run", left)
	}
	if gate, err := os.ReadFile(filepath.Join(rd.root, ".ci", "run")); err != nil || !strings.Contains(string(gate), "make test") {
		t.Errorf("the gate does not run make test: %v\n%s", err, gate)
	}
}

// runLines runs a block whose lines are commands, one by one. `caddy run` goes on in a terminal of
// its own.
func (rd *reader) runLines(t *testing.T, b block) {
	t.Helper()
	for line := range strings.Lines(b.text) {
		command, _, _ := strings.Cut(line, "#")
		one := block{info: b.info, text: strings.TrimSpace(command), line: b.line}
		if one.text == "./caddy run" {
			one.info = "sh terminal=caddy"
			rd.openTerminal(t, one, pattern("serving initial configuration"))
			continue
		}
		rd.run(t, one, nil)
	}
}
