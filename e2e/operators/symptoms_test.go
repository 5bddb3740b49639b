package operators

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// symptom is a row of the table of symptoms in docs/operations.md: what is done to the gateway, and
// that the row is right about what is seen and what the command shows.
type symptom struct {
	// row has texts of the row's first cell. They tell it from the others.
	row []string
	// seen returns an error until the symptom is there.
	seen func(w *ward) error
	// command of `caddy grpc-gateway`, and what it shows about the upstream of.
	command, of string
	shows       []string
	// named are those of the texts above that the row has.
	named []string
}

// ward is a gateway with something wrong in every corner. The upstream x is at /x/.
type ward struct {
	t       *testing.T
	etcd    *kit.Etcd
	caddy   *kit.Caddy
	backend *testkit.Backend
	broken  atomic.Bool // makes one of the instances of `sick` answer UNAVAILABLE
	schema  string      // a file with the schema of `old`
}

// symptoms are in the order in which they can be produced: the last ones need etcd to be away.
var symptoms = []symptom{
	{
		row: []string{"no instance of the service is known yet", "the registry has not answered yet"},
		seen: func(w *ward) error {
			return firstError(w.answers("unknown/x", 503, "no instance of the service is known yet"), logHas(w.caddy, "the registry has not answered yet"))
		},
		command: "upstreams", of: "unknown", shows: []string{"registry: not read yet", "error: "},
	},
	{
		row:     []string{"the service has no instances"},
		seen:    func(w *ward) error { return w.answers("empty/x", 503, "the service has no instances") },
		command: "upstreams", of: "empty", shows: []string{"registry: in sync, instances: 0"},
	},
	{
		row:     []string{"no instance of the service can be reached"},
		seen:    func(w *ward) error { return w.answers("dead/x", 503, "no instance of the service can be reached") },
		command: "upstreams", of: "dead", shows: []string{"connection refused"}, named: []string{"connection refused"},
	},
	{
		row:     []string{"no instance of the service can be reached"},
		seen:    func(w *ward) error { return w.answers("tls/x", 503, "no instance of the service can be reached") },
		command: "upstreams", of: "tls", shows: []string{"the instance may expect TLS"}, named: []string{"the instance may expect TLS"},
	},
	{
		row: []string{"the methods of the service are not known"},
		seen: func(w *ward) error {
			return w.answers("silent/gateway.test.v1.Echo/Unary", 503, "the methods of the service are not known")
		},
		command: "upstreams", of: "silent", shows: []string{"schema: reflection, services: none known", "error: "},
	},
	{
		row:     []string{"404", "path"},
		seen:    func(w *ward) error { return w.answers("typo/v1/nowhere", 404, "no route for") },
		command: "routes", of: "Handler for typo", shows: []string{"! ", "gateway.test.v1.Echo/Nothing", "/v1/echo/{text}"},
	},
	{
		row: []string{"one of several instances gets no calls"},
		seen: func(w *ward) error {
			for range 20 {
				_ = w.answers("sick/v1/echo/x", 200, "")
			}
			return w.shows("upstreams", "sick", "ejected")
		},
		command: "upstreams", of: "sick", shows: []string{"ejected", "this instance is sick"}, named: []string{"ejected"},
	},
	{
		row:     []string{"an instance is never connected"},
		seen:    func(w *ward) error { return w.answers("refused/x", 503, "") },
		command: "upstreams", of: "refused", shows: []string{"! refused "}, named: []string{"refused"},
	},
	{
		row:     []string{"a registered instance is missing"},
		seen:    func(w *ward) error { return w.answers("skipped/x", 503, "") },
		command: "upstreams", of: "skipped", shows: []string{"! skipped skipped.rpc/1: "}, named: []string{"skipped"},
	},
	{
		row: []string{"a new method is missing"},
		seen: func(w *ward) error {
			write(w.t, w.schema, []byte("this is no descriptor set"))
			return firstError(w.answers("old/v1/echo/x", 200, ""), w.shows("upstreams", "old", "error: "))
		},
		command: "upstreams", of: "old", shows: []string{"schema: protoset, services: gateway.test.v1.Echo", "error: "},
	},
	{
		row: []string{"504"},
		seen: func(w *ward) error {
			return firstError(w.answers("slow/v1/echo/x?script.delay=60s", 504, ""), logHas(w.caddy, `"grpc_error":`))
		},
	},
	{
		row: []string{"deregistered instances get calls"},
		seen: func(w *ward) error {
			w.etcd.DeletePrefix(w.t, "held.rpc/")
			return firstError(w.answers("held/v1/echo/x", 200, ""), w.shows("upstreams", "held", "! instances held"))
		},
		command: "upstreams", of: "held", shows: []string{"instances held although the registry does not have them any more: 2"},
	},
	{
		row:  []string{"fewer keepalive pings", "instance closed the connection"},
		seen: func(w *ward) error { return logHas(w.caddy, "it allows fewer keepalive pings") },
	},
	{
		row: []string{"instances change, and the list does not"},
		seen: func(w *ward) error {
			w.etcd.Stop()
			return firstError(w.shows("upstreams", "old", "registry: stale"), w.answers("old/v1/echo/x", 200, ""))
		},
		command: "upstreams", of: "old", shows: []string{"registry: stale, instances: 1", "error: "},
	},
}

// TestSymptoms produces each row of the table of symptoms.
func TestSymptoms(t *testing.T) {
	w := newWard(t)
	table := symptomRows(t)
	produced := make(map[string]bool)
	for _, s := range symptoms {
		t.Run(strings.Join(s.row, ", "), func(t *testing.T) {
			w.t = t
			row := findRow(t, table, s.row)
			produced[row] = true
			kit.Eventually(t, patience, "the symptom is there", func() error { return s.seen(w) })
			if s.command != "" {
				kit.Eventually(t, patience, "the command shows it", func() error { return w.shows(s.command, s.of, s.shows...) })
				kit.Contains(t, "the row", row, "`"+s.command+"`")
			}
			kit.Contains(t, "the row", row, s.named...)
		})
	}
	for _, row := range table {
		if !produced[row] {
			t.Errorf("no test produces %s", row)
		}
	}
}

// symptomRows returns the rows of the table in docs/operations.md.
func symptomRows(t *testing.T) (rows []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(kit.RootDir(t), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Symptoms\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") && !strings.HasPrefix(line, "| what is seen") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	return rows
}

// findRow returns the only row whose first cell has all of the texts.
func findRow(t *testing.T, table []string, texts []string) (found string) {
	t.Helper()
	for _, row := range table {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		all := true
		for _, text := range texts {
			all = all && strings.Contains(cell, text)
		}
		if all && found != "" {
			t.Fatalf("two rows have %q:\n%s\n%s", texts, found, row)
		}
		if all {
			found = row
		}
	}
	if found == "" {
		t.Fatalf("no row has %q", texts)
	}
	return found
}

// newWard starts the gateway, and a call that rests for as long as the tests take.
func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{t: t, etcd: kit.EmbeddedEtcd(t), backend: testkit.StartBackend(t), schema: filepath.Join(t.TempDir(), "old.binpb")}
	write(t, w.schema, kit.Descriptors(t))
	fails := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if w.broken.Load() {
			return nil, status.Error(codes.Unavailable, "this instance is sick")
		}
		return h(ctx, req)
	})
	sick := testkit.StartBackend(t, testkit.WithServerOptions(fails))
	certificates := kit.NewCertificates(t, "gateway")
	pair, err := tls.LoadX509KeyPair(certificates.ServerCert, certificates.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	secure := testkit.StartBackend(t, testkit.WithTLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	strict := testkit.StartBackend(t, testkit.WithServerOptions(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Hour})))
	silent := testkit.StartBackend(t, testkit.WithReflection(false, false))
	here := w.backend.Addr()
	w.etcd.PutAll(t, map[string]string{
		"skipped.rpc/1": "this is no address", "held.rpc/1": here, "held.rpc/2": testkit.StartBackend(t).Addr(), "old.rpc/1": here,
	})
	upstreams := map[string]string{
		"unknown": "discover etcd unknown.rpc {\n endpoints " + kit.FreeAddr(t) + "\n }",
		"empty":   "discover etcd empty.rpc",
		"dead":    "discover static " + kit.FreeAddr(t),
		"tls":     "discover static " + secure.Addr(),
		"silent":  "discover static " + silent.Addr(),
		"typo":    "discover static " + here,
		"sick":    "discover static " + here + " " + sick.Addr() + "\n eject 3 60s",
		"refused": "discover static " + here + "\n networks {\n allow 10.0.0.0/8\n }",
		"skipped": "discover etcd skipped.rpc",
		"old":     "discover etcd old.rpc\n descriptors protoset " + w.schema,
		"slow":    "discover static " + here + "\n timeout 200ms",
		"held":    "discover etcd held.rpc",
		"strict":  "discover static " + strict.Addr() + "\n keepalive 10s 3s",
	}
	var global, site strings.Builder
	fmt.Fprintf(&global, "grpc_gateway {\n etcd {\n endpoints %s\n }\n", w.etcd.Addr)
	site.WriteString("log\n")
	for name, options := range upstreams {
		fmt.Fprintf(&global, "upstream %s {\n%s\n}\n", name, options)
		more := ""
		if name == "typo" {
			more = " {\n route GET /typo gateway.test.v1.Echo/Nothing\n }"
		}
		fmt.Fprintf(&site, "handle_path /%s/* {\n grpc_gateway %s%s\n}\n", name, name, more)
	}
	global.WriteString("}")
	w.caddy = kit.StartCaddy(t, kit.Options{Global: global.String(), Site: site.String()})
	kit.Eventually(t, patience, "the services that are well answer", func() error {
		return firstError(w.answers("sick/v1/echo/x", 200, ""), w.answers("old/v1/echo/x", 200, ""), w.answers("held/v1/echo/x", 200, ""),
			w.answers("typo/v1/echo/x", 200, ""), w.answers("strict/v1/echo/x", 200, ""), w.shows("upstreams", "held", "instances: 2"))
	})
	w.broken.Store(true)
	rest(t, w.caddy.URL("/strict/v1/stream"))
	return w
}

// rest begins a stream that goes on until it is stopped, or the test ends.
func rest(t *testing.T, address string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	body := `{"text": "s", "count": 2, "script": {"interval": "600s"}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := kit.H1().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cancel
}

// answers checks the answer to a GET.
func (w *ward) answers(path string, code int, text string) error {
	got, body, err := kit.GetJSON(http.DefaultClient, w.caddy.URL("/"+path))
	if err == nil && (got != code || !strings.Contains(body, text)) {
		err = fmt.Errorf("GET /%s: %d %s", path, got, body)
	}
	return err
}

// shows checks what a command prints about an upstream: the paragraph that begins with its name.
func (w *ward) shows(command, of string, texts ...string) error {
	out := kit.Run(w.t, exec.Command(kit.Binary(w.t), "grpc-gateway", command, "--address", w.caddy.Admin), "")
	if out.Code != 0 {
		return fmt.Errorf("%s: %+v", command, out)
	}
	for paragraph := range strings.SplitSeq(out.Stdout, "\n\n") {
		first, _, _ := strings.Cut(paragraph, "\n")
		if first != of && !strings.HasPrefix(first, of+" ") {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(paragraph, text) {
				return fmt.Errorf("no %q in:\n%s", text, paragraph)
			}
		}
		return nil
	}
	return fmt.Errorf("nothing begins with %s:\n%s", of, out.Stdout)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
