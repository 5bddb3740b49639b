package module_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestCatalogWithDescriptorFiles: a service without reflection is described by the file that is
// named after it. The others are asked by reflection.
func TestCatalogWithDescriptorFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(file string, raw []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("user.rpc.binpb", testkit.DescriptorSet(t, "user.v1.Users", "GET /v1/users/{value}"))
	write("order.binpb", testkit.DescriptorSet(t, "order.v1.Orders", "GET /v1/orders/{value}"))
	f := newFleet(t)
	s := newSite(t)
	f.add("user.rpc", testkit.StartSilent(t, "user").Addr())
	f.add("/microservices/order", testkit.StartSilent(t, "order").Addr())
	f.add("stock", startService(t, "stock.v1.Stock", "stock", "GET /v1/stock/{value}"))
	f.add("other", testkit.StartBackend(t, testkit.WithReflection(false, false)).Addr())
	global := f.global("upstream {\n descriptors protoset " + dir + "/*.binpb\n }")
	s.load(global, siteOfFleet)
	for path, want := range map[string]string{"/v1/users/1": `"user"`, "/v1/orders/1": `"order"`, "/v1/stock/1": `"stock"`} {
		eventually(t, path+" answers", func() bool {
			got := s.do("GET", path, "")
			return got.status == http.StatusOK && got.body == want
		})
	}
	eventually(t, "the service without a file is shown", func() bool {
		v := s.service("other")
		return v.State == "failed" && strings.Contains(v.Reason, "no server reflection")
	})

	// A changed file is read again.
	write("user.rpc.binpb", testkit.DescriptorSet(t, "user.v1.Users", "GET /v2/users/{value}"))
	eventually(t, "the new route answers", func() bool { return s.status("/v2/users/1") == http.StatusOK })

	// A file that is gone when its service comes is no reason to refuse the service.
	if err := os.Remove(filepath.Join(dir, "order.binpb")); err != nil {
		t.Fatal(err)
	}
	f.remove("/microservices/order")
	eventually(t, "order has gone", func() bool { return s.service("/microservices/order").Name == "" })
	f.add("order", startService(t, "order.v2.Orders", "order", "GET /v2/orders/{value}"))
	eventually(t, "it is read by reflection", func() bool { return s.status("/v2/orders/1") == http.StatusOK })
}

func TestCatalogRefusesDescriptorFiles(t *testing.T) {
	newSite(t)
	dir := t.TempDir()
	for _, file := range []string{"a.binpb", "a.protoset", "good.pb"} {
		raw := testkit.DescriptorSet(t, "user.v1.Users")
		if err := os.WriteFile(filepath.Join(dir, file), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, raw := range map[string]string{"bad.set": "no descriptors", ".hidden": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string]string{
		"*.none":  "expected files that are named after services, such as user.rpc.binpb, found none",
		"[":       "syntax error in pattern",
		"a.*":     "expected one file for the service a",
		"*.set":   "bad.set",
		".hidden": "expected the name of a service before the last dot",
	} {
		config := `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"grpc_gateway": {"catalogs": {"a": {
			"registry": {"source": "manual", "name": "x"}, "upstream": {"descriptors": {"source": "protoset", "files": ["` + filepath.Join(dir, pattern) + `"]}}}}}}}`
		if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", pattern, err, want)
		}
	}
}
