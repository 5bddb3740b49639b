package consul

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// rootToken may do everything in the agents of the tests.
const rootToken = "5f1b6c1e-0d3a-4c55-9f0e-7d6a2f1c9b10"

// binary is the Consul that TestMain builds.
var binary string

// build builds Consul by the module in agent, which has its dependencies.
func build(dir string) error {
	binary = filepath.Join(dir, "consul")
	cmd := exec.Command("go", "build", "-o", binary, "github.com/hashicorp/consul")
	cmd.Dir = "agent"
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Consul: %w\n%s", err, out)
	}
	fmt.Printf("built Consul in %v\n", time.Since(began).Round(time.Second))
	return nil
}

// agent is a Consul server that is a cluster of its own, with access control. It keeps its data and
// its ports over restarts.
type agent struct {
	addr   string // of the HTTP API
	dir    string
	config string
	cmd    *exec.Cmd
	done   chan struct{}
}

func startAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{addr: kit.FreeAddr(t), dir: t.TempDir()}
	a.config = filepath.Join(a.dir, "agent.json")
	text, err := json.Marshal(map[string]any{
		"server": true, "bootstrap_expect": 1, "node_name": "node-1", "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"data_dir": filepath.Join(a.dir, "data"), "disable_update_check": true, "leave_on_terminate": false,
		"ports": map[string]int{
			"http": port(t, a.addr), "dns": -1, "grpc": -1, "serf_wan": -1, "serf_lan": port(t, kit.FreeAddr(t)), "server": port(t, kit.FreeAddr(t)),
		},
		"performance": map[string]int{"raft_multiplier": 1},
		"acl": map[string]any{
			"enabled": true, "default_policy": "deny", "tokens": map[string]string{"initial_management": rootToken, "agent": rootToken},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.stop)
	a.start(t)
	return a
}

func port(t *testing.T, addr string) int {
	t.Helper()
	_, text, _ := net.SplitHostPort(addr)
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start runs the agent, and waits until it is its own leader.
func (a *agent) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(a.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	a.cmd, a.done = exec.Command(binary, "agent", "-config-file", a.config), make(chan struct{})
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.done)
		_ = a.cmd.Wait()
		log.Close()
	}()
	kit.Eventually(t, 120*time.Second, "Consul has a leader and its access control", func() error {
		if _, err := a.do(http.MethodGet, "/v1/acl/token/self", nil); err != nil {
			return err
		}
		text, err := a.do(http.MethodGet, "/v1/catalog/nodes", nil)
		if err != nil || !strings.Contains(string(text), "node-1") {
			return fmt.Errorf("nodes %s: %w", text, err)
		}
		return nil
	})
}

// stop ends the agent as a crash would.
func (a *agent) stop() {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Signal(syscall.SIGKILL)
	<-a.done
	a.cmd = nil
}

// do asks the agent with the root token.
func (a *agent) do(method, path string, body any) ([]byte, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "http://"+a.addr+path, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Consul-Token", rootToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}

// must is do for what must work.
func (a *agent) must(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	text, err := a.do(method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// register registers a healthy instance, whose check the test sets.
func (a *agent) register(t *testing.T, service, id, addr string) {
	t.Helper()
	host, _, _ := net.SplitHostPort(addr)
	a.must(t, http.MethodPut, "/v1/agent/service/register", map[string]any{
		"Name": service, "ID": id, "Address": host, "Port": port(t, addr), "Tags": []string{"grpc"},
		"Check": map[string]string{"TTL": "1h", "Status": "passing"},
	})
}

// check sets the result of the check of an instance: pass, warn or fail.
func (a *agent) check(t *testing.T, id, result string) {
	t.Helper()
	a.must(t, http.MethodPut, "/v1/agent/check/"+result+"/service:"+id, nil)
}

func (a *agent) deregister(t *testing.T, id string) {
	t.Helper()
	a.must(t, http.MethodPut, "/v1/agent/service/deregister/"+id, nil)
}

// token makes a token with the policy of examples/consul, and returns its ID and its secret.
func (a *agent) token(t *testing.T, name string) (id, secret string) {
	t.Helper()
	rules, err := os.ReadFile(filepath.Join(kit.RootDir(t), "examples/consul/policy.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	a.must(t, http.MethodPut, "/v1/acl/policy", map[string]string{"Name": name, "Rules": string(rules)})
	text := a.must(t, http.MethodPut, "/v1/acl/token", map[string]any{"Policies": []map[string]string{{"Name": name}}})
	var made struct{ AccessorID, SecretID string }
	if err := json.Unmarshal(text, &made); err != nil || made.SecretID == "" {
		t.Fatalf("token %s: %v", text, err)
	}
	return made.AccessorID, made.SecretID
}
