package operators

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// examples is where dashboard and alerts are.
func examples(t *testing.T, name string) string {
	return filepath.Join(kit.RootDir(t), "examples", "observability", name)
}

// TestAlerts: promtool accepts the rules and their tests.
func TestAlerts(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", examples(t, "alerts.yml")},
		{"check", "config", examples(t, "prometheus.yml")},
		{"test", "rules", examples(t, "alerts_test.yml")},
	} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = examples(t, "")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestEveryAlertIsTested: an alert without a test may never fire.
func TestEveryAlertIsTested(t *testing.T) {
	rules, err := os.ReadFile(examples(t, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(examples(t, "alerts_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	alerts := 0
	for line := range strings.Lines(string(rules)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "- alert: ")
		if !ok {
			continue
		}
		alerts++
		if !strings.Contains(string(tests), "alertname: "+name+"\n") {
			t.Errorf("alert %s has no test", name)
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}

// TestDashboard: each expression of the dashboard, and the one behind its variable, returns data
// from a real scrape of a gateway under load, with an instance that fails and one that comes back.
func TestDashboard(t *testing.T) {
	good, bad := testkit.StartBackend(t), testkit.StartBackend(t)
	etcd := kit.EmbeddedEtcd(t)
	etcd.Put(t, "echo.rpc/1", good.Addr())
	etcd.Put(t, "echo.rpc/2", bad.Addr())
	caddy := kit.StartCaddy(t, kit.Options{Site: "grpc_gateway etcd://" + etcd.Addr + "/echo.rpc"})
	caddy.WaitReady(t, 30*time.Second, good.Addr(), bad.Addr())
	prometheus := startPrometheus(t, caddy.Admin)
	paths := []string{"/v1/echo/x", "/v1/echo/x?script.fail_code=14", "/v1/echo/x?script.fail_code=5"}
	load := kit.StartLoad(kit.H1(), 60, func(ctx context.Context, id string) (*http.Request, error) {
		if n := id[len(id)-1]; n == '0' {
			return http.NewRequestWithContext(ctx, http.MethodPost, caddy.URL("/v1/stream"), strings.NewReader(`{"count":3}`))
		}
		return http.NewRequestWithContext(ctx, http.MethodGet, caddy.URL(paths[int(id[len(id)-1])%len(paths)]), nil)
	}, nil)
	defer load.Stop()

	bad.Stop() // Calls in flight are lost, and it cannot be connected any more.
	kit.Eventually(t, 90*time.Second, "each expression returns data", func() error {
		for _, expression := range expressions(t) {
			if err := prometheus.hasData(expression); err != nil {
				return fmt.Errorf("%s: %w", expression, err)
			}
		}
		return nil
	})
	if err := prometheus.hasData(`caddy_grpc_gateway_no_such_metric`); err == nil {
		t.Error("a metric that does not exist has data")
	}
}

// expressions are those of the dashboard, with the values that Grafana would put in.
func expressions(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(examples(t, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Type, Definition string }
		}
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			metric, _, _ := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ",")
			all = append(all, metric)
		}
	}
	if len(all) < 15 {
		t.Fatalf("the dashboard has %d expressions, so this test shows little", len(all))
	}
	for i := range all {
		all[i] = strings.NewReplacer("$upstream", ".*", "$__rate_interval", "30s").Replace(all[i])
	}
	return all
}

// prometheus is a running Prometheus.
type prometheus struct{ addr string }

// startPrometheus runs one that scrapes the gateway once a second, until the test ends.
func startPrometheus(t *testing.T, target string) prometheus {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: grpc_gateway\n    static_configs:\n      - targets: [\"" + target + "\"]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := prometheus{kit.FreeAddr(t)}
	var log strings.Builder
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus:\n%s", log.String())
		}
	})
	return p
}

// hasData evaluates an expression, and returns an error unless it yields a number.
func (p prometheus) hasData(expression string) error {
	resp, err := http.Get("http://" + p.addr + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s", answer.Error)
	}
	for _, r := range answer.Data.Result {
		if v, ok := r.Value[1].(string); ok && v != "NaN" {
			return nil
		}
	}
	return fmt.Errorf("no data in %d series", len(answer.Data.Result))
}
