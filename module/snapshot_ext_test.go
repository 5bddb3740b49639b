package module_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/snapshot"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// snapshotFile is where the instances of a source are kept.
func snapshotFile(id string) string {
	return snapshot.Path(filepath.Join(caddy.AppDataDir(), "grpc_gateway", "snapshots"), id)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// manualSite is a site with one upstream whose instances a test sets.
func manualSite(t *testing.T, name, options string) (s *site, load func(options string)) {
	s = newSite(t)
	load = func(options string) {
		s.load("", "grpc_gateway {\n upstream echo {\n discover manual "+name+"\n "+options+"\n }\n }")
	}
	load(options)
	return s, load
}

func TestColdStartWithoutRegistry(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	const id = "manual:cold"
	manualStates["cold"] = testkit.NewSource(id, a.Addr())
	s, _ := manualSite(t, "cold", "")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	eventually(t, "saved", func() bool { return exists(snapshotFile(id)) })
	s.shutdown()

	source := testkit.NewSource(id)
	source.SetState(discovery.State{Err: errors.New("the registry is gone")})
	manualStates["cold"] = source
	s, _ = manualSite(t, "cold", "")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	registry := func() module.RegistryView {
		var v module.UpstreamView
		s.ask("/grpc_gateway/upstreams/echo", &v)
		return v.Registry
	}
	if r := registry(); !r.Synced || !r.Stale || r.Snapshot == nil || r.Error != "the registry is gone" || r.Instances != 1 {
		t.Errorf("registry: %+v", r)
	}
	if got := s.metric(`registry_stale{upstream="echo"}`); got != 1 {
		t.Errorf("registry_stale is %v", got)
	}
	eventually(t, "the log says it", func() bool { return strings.Contains(read(t, s.logFile()), "using the snapshot on disk") })

	accepted := a.Accepted()
	source.SetAddrs(a.Addr(), b.Addr())
	eventually(t, "the registry's list", func() bool { s.get("/v1/echo/x"); return b.Calls() > 0 })
	if r := registry(); r.Stale || r.Snapshot != nil || r.Error != "" || r.Instances != 2 {
		t.Errorf("registry: %+v", r)
	}
	if got := s.metric(`registry_stale{upstream="echo"}`); got != 0 {
		t.Errorf("registry_stale is %v", got)
	}
	if got := a.Accepted(); got != accepted {
		t.Errorf("the instance that stayed was dialled again: %d connections, %d before", got, accepted)
	}
}

func TestSnapshotOff(t *testing.T) {
	backend := testkit.StartBackend(t)
	const id = "manual:forgetful"
	manualStates["forgetful"] = testkit.NewSource(id, backend.Addr())
	s, load := manualSite(t, "forgetful", "snapshot off")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if exists(snapshotFile(id)) {
		t.Error("there is a file")
	}
	// One upstream that wants it is enough, and no change of it makes a new connection.
	accepted := backend.Accepted()
	load("snapshot off\n }\n upstream other {\n discover manual forgetful\n connect_timeout 4s\n descriptors reflection {\n refresh off\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	load("")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if got := backend.Accepted(); got > accepted+1 {
		t.Errorf("%d connections were made, %d before", got, accepted)
	}
	s.shutdown()
	if !exists(snapshotFile(id)) {
		t.Error("there is no file")
	}

	source := testkit.NewSource(id)
	source.SetState(discovery.State{Err: errors.New("the registry is gone")})
	manualStates["forgetful"] = source
	s, _ = manualSite(t, "forgetful", "snapshot off")
	s.want(s.get("/v1/echo/x"), http.StatusServiceUnavailable)
}

func TestStaticInstancesAreNotSaved(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream echo {\n discover static "+backend.Addr()+"\n snapshot on\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.shutdown()
	if exists(snapshotFile("static:///" + backend.Addr())) {
		t.Error("there is a file")
	}
}
