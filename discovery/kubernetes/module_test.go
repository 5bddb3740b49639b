package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/goleak"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func provisioned(t testing.TB, s *Source) *Source {
	t.Helper()
	if err := s.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// watching runs the source and returns a function that waits for a state.
func watching(t *testing.T, s discovery.Source) (until func(what string, ok func(discovery.State) bool) discovery.State) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var last discovery.State
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Watch(ctx, func(s discovery.State) {
			mu.Lock()
			defer mu.Unlock()
			last = s
		})
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return func(what string, ok func(discovery.State) bool) discovery.State {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			s := last
			mu.Unlock()
			if ok(s) {
				return s
			}
		}
		t.Fatalf("no %s; the last state is %+v", what, last)
		return discovery.State{}
	}
}

func has(ids ...string) func(discovery.State) bool {
	return func(s discovery.State) bool {
		var got []string
		for _, e := range s.Endpoints {
			got = append(got, strings.TrimPrefix(e.ID, "shop/"))
		}
		return s.Synced && s.Err == nil && reflect.DeepEqual(got, ids)
	}
}

func TestWatch(t *testing.T) {
	for name, old := range map[string]bool{"with streaming lists": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, old)
			until := watching(t, provisioned(t, &Source{Namespace: "shop", Service: "user", Port: "grpc", Kubeconfig: server.kubeconfig(t)}))
			if got := until("empty list", has()); got.Hold != defaultHold || got.LastContact.IsZero() {
				t.Errorf("state %+v", got)
			}
			server.set(slice("1", pod("a", "10.0.0.1", "")))
			until("new pod", has("a"))
			server.set(slice("2", pod("b", "10.0.0.2", ""), pod("c", "10.0.0.3", "notready")))
			if got := until("second slice", has("a", "b")); len(got.Skipped) != 1 || got.Revision != 102 {
				t.Errorf("state %+v", got)
			}
			server.set(slice("1", pod("a", "10.0.0.1", "terminating serving")))
			if got := until("terminating pod", has("b")); len(got.Withdrawn) != 1 || got.Withdrawn[0].ID != "shop/a" {
				t.Errorf("withdrawn: %+v", got.Withdrawn)
			}
			server.remove("1")
			until("removed slice", func(s discovery.State) bool { return has("b")(s) && len(s.Withdrawn) == 0 })

			server.expire(func() { server.slices["2"] = slice("2", pod("d", "10.0.0.4", "")) })
			until("list after an expired watch", has("d"))

			server.fail(http.StatusForbidden)
			got := until("trouble", func(s discovery.State) bool { return s.Err != nil })
			if len(got.Endpoints) != 1 || !got.Synced || !strings.Contains(got.Err.Error(), "is forbidden") || strings.Contains(got.Err.Error(), "s3cret") {
				t.Errorf("state %+v", got)
			}
			server.fail(0)
			until("end of the trouble", has("d"))

			server.mu.Lock()
			defer server.mu.Unlock()
			for i, q := range server.asked {
				if q.Get("labelSelector") != "kubernetes.io/service-name=user" || server.tokens[i] != "Bearer s3cret" {
					t.Errorf("question %d: %v, %s", i, q, server.tokens[i])
				}
			}
		})
	}
}

// Trouble that is over without a change of any pod ends nevertheless.
func TestTroubleEndsWithoutAChange(t *testing.T) {
	server := newServer(t, false)
	server.fail(http.StatusForbidden)
	until := watching(t, provisioned(t, &Source{Namespace: "shop", Service: "user", Kubeconfig: server.kubeconfig(t)}))
	if got := until("trouble", func(s discovery.State) bool { return s.Err != nil }); got.Synced {
		t.Errorf("state %+v", got)
	}
	server.fail(0)
	until("empty list", has())
}

// A token that ended is replaced in its file. It is read again at once, and not a minute later.
func TestTokenFile(t *testing.T) {
	server := newServer(t, false)
	file := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	server.token = "old"
	config := server.kubeconfigOf(t, `"tokenFile":"`+file+`"`)
	until := watching(t, provisioned(t, &Source{Namespace: "shop", Service: "user", Kubeconfig: config}))
	until("empty list", has())
	server.locked(func() { server.token = "new" })
	server.fail(0) // The watch is made again.
	until("trouble", func(s discovery.State) bool { return s.Err != nil })
	put("new")
	server.set(slice("1", pod("a", "10.0.0.1", "")))
	until("list with the new token", has("a")) // within 30 s
}

// While nobody listens where the API server was, the pause between attempts does not grow.
func TestRestartOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := &watcher{publish: func(discovery.State) {}}
		got, err := persist(t.Context(), w, func() (string, error) {
			if time.Since(began) < time.Minute {
				return "", fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
			}
			return "answer", nil
		})
		if took := time.Since(began); err != nil || got != "answer" || took > time.Minute+2*refusedPause {
			t.Errorf("%q and %v after %v", got, err, took)
		}
		if w.state.Err == nil {
			t.Error("no trouble was published")
		}
	})
}

// Outside of a pod there is no service account. That is trouble, and not a config that is refused.
func TestWithoutAServiceAccount(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	until := watching(t, provisioned(t, &Source{Namespace: "shop", Service: "user"}))
	until("trouble", func(s discovery.State) bool {
		return s.Err != nil && !s.Synced && s.Hold == defaultHold && strings.Contains(s.Err.Error(), "elsewhere a kubeconfig is needed")
	})
}

func TestProvision(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("}"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POD_NAMESPACE", "shop")
	s := provisioned(t, &Source{Namespace: "{env.POD_NAMESPACE}", Service: "user", Port: "grpc"})
	if want := "kubernetes:///shop/user:grpc"; s.ID() != want {
		t.Errorf("ID %s, want %s", s.ID(), want)
	}
	for want, s := range map[string]*Source{
		"expected <namespace>/<service>":                        {},
		"expected the name of a namespace in Kubernetes, found": {Namespace: "Shop", Service: "user"},
		"expected the name of a service in Kubernetes, found":   {Namespace: "shop", Service: "a=b"},
		"context: expected a kubeconfig":                        {Namespace: "a", Service: "b", Context: "c"},
		"kubeconfig: open ":                                     {Namespace: "a", Service: "b", Kubeconfig: filepath.Join(dir, "none")},
		"kubeconfig: ":                                          {Namespace: "a", Service: "b", Kubeconfig: broken},
		"namespace: ":                                           {Namespace: "{env.UNSET_NAMESPACE}", Service: "b"},
	} {
		wantErr(t, s.Provision(caddy.Context{}), want)
	}
}

func TestID(t *testing.T) {
	server, other := newServer(t, true), newServer(t, true)
	config, config2 := server.kubeconfig(t), other.kubeconfig(t)
	ids := make(map[string]string)
	for name, s := range map[string]*Source{
		"default":    {Namespace: "a", Service: "b"},
		"namespace":  {Namespace: "c", Service: "b"},
		"service":    {Namespace: "a", Service: "c"},
		"port":       {Namespace: "a", Service: "b", Port: "1"},
		"hold":       {Namespace: "a", Service: "b", Hold: -1},
		"kubeconfig": {Namespace: "a", Service: "b", Kubeconfig: config},
		"another":    {Namespace: "a", Service: "b", Kubeconfig: config2},
		"context":    {Namespace: "a", Service: "b", Kubeconfig: config, Context: "test"},
	} {
		id := provisioned(t, s).ID()
		if twin, ok := ids[id]; ok {
			t.Errorf("%s and %s have the ID %s", name, twin, id)
		}
		ids[id] = name
	}
}

func TestUnmarshalTarget(t *testing.T) {
	for target, want := range map[string]Source{
		"kubernetes:///shop/user":              {Namespace: "shop", Service: "user"},
		"kubernetes:///shop/user:grpc":         {Namespace: "shop", Service: "user", Port: "grpc"},
		"kubernetes+tls:///shop/user:9001":     {Namespace: "shop", Service: "user", Port: "9001"},
		"kubernetes:///shop/user:grpc?hold=5s": {Namespace: "shop", Service: "user", Port: "grpc", Hold: caddy.Duration(5 * time.Second)},
	} {
		got, err := unmarshalTarget(target)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", target, *got, err, want)
		}
	}
	for target, want := range map[string]string{
		"kubernetes://shop/user":         "expected three slashes before the namespace",
		"kubernetes:///user":             "expected <namespace>/<service>",
		"kubernetes:///shop/user:":       "expected <namespace>/<service>",
		"kubernetes:///shop/user/grpc":   "expected <namespace>/<service>",
		"kubernetes:///shop/User":        "expected the name of a service in Kubernetes",
		"kubernetes+x:///shop/user":      "expected the scheme kubernetes",
		"kubernetes:///shop/user?port=1": `found "port"`,
		"kubernetes:///shop/user?hold=1": "expected a duration, such as 60s, or off",
	} {
		_, err := unmarshalTarget(target)
		wantErr(t, err, want)
	}
}

func unmarshalTarget(text string) (*Source, error) {
	s := new(Source)
	target, err := discovery.ParseTarget(text)
	if err != nil {
		return s, err
	}
	return s, s.UnmarshalTarget(target)
}

func TestUnmarshalCaddyfile(t *testing.T) {
	for input, want := range map[string]Source{
		"kubernetes shop/user":                                               {Namespace: "shop", Service: "user"},
		"kubernetes {env.POD_NAMESPACE}/user:grpc":                           {Namespace: "{env.POD_NAMESPACE}", Service: "user", Port: "grpc"},
		"kubernetes shop/{env.SERVICE:user}":                                 {Namespace: "shop", Service: "{env.SERVICE:user}"},
		"kubernetes shop/user:grpc {\nhold off\n}":                           {Namespace: "shop", Service: "user", Port: "grpc", Hold: -1},
		"kubernetes shop/user {\nkubeconfig /etc/k\ncontext prod\nhold 0\n}": {Namespace: "shop", Service: "user", Kubeconfig: "/etc/k", Context: "prod", Hold: -1},
	} {
		got := new(Source)
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", input, *got, err, want)
		}
	}
	for input, want := range map[string]string{
		"kubernetes":                                  "expected one service, as in: discover kubernetes shop/user:grpc, at Testfile:1",
		"kubernetes shop user":                        "expected one service",
		"kubernetes user":                             `discover kubernetes: expected <namespace>/<service> or <namespace>/<service>:<port>, found "user", at Testfile:1`,
		"kubernetes+x shop/user":                      "discover kubernetes+x: expected kubernetes",
		"kubernetes shop/user {\nport grpc\n}":        `unknown option "port" of discover kubernetes: expected context, hold or kubeconfig, at Testfile:2`,
		"kubernetes shop/user {\nhold 1s\nhold 2s\n}": "option hold of discover kubernetes is given twice, at Testfile:3",
		"kubernetes shop/user {\nkubeconfig\n}":       "wrong argument count",
		"kubernetes shop/user {\ncontext a\n}":        "discover kubernetes: context: expected a kubeconfig, which it is for, at Testfile:1",
		"kubernetes shop/user {\nhold soon\n}":        "expected a duration, such as 60s, or off, at Testfile:2",
	} {
		wantErr(t, new(Source).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)), want)
	}
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want one with %q", err, text)
	}
}
