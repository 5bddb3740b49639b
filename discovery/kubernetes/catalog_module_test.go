package kubernetes

import (
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func provisionedCatalog(t testing.TB, c *Catalog) *Catalog {
	t.Helper()
	if err := c.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// of makes the slice one of another service, created at a Unix time.
func of(service string, created int64, s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	s.Labels[discoveryv1.LabelServiceName] = service
	s.CreationTimestamp = metav1.Unix(created, 0)
	return s
}

func TestConvertAll(t *testing.T) {
	stray := slice("stray", pod("x", "10.0.0.9", ""))
	stray.Labels = nil
	portless := of("web", 40, slice("web-1", pod("w", "10.0.0.8", "")))
	portless.Ports = nil
	v6 := of("order", 60, slice("order-2", pod("a", "2001:db8::1", "")))
	v6.AddressType = discoveryv1.AddressTypeIPv6
	l := convertAll([]*discoveryv1.EndpointSlice{
		stray, portless, v6,
		of("user", 70, slice("user-2", pod("b", "10.0.0.2", "terminating"), pod("c", "10.0.0.3", "notready"))),
		of("user", 50, slice("user-1", pod("a", "10.0.0.1", ""))),
	}, "")
	type instance struct {
		id, service, addr string
		created           int64
	}
	var got []instance
	for _, e := range append(l.endpoints, l.withdrawn...) {
		got = append(got, instance{e.ID, e.Service, e.Addr, e.Created})
	}
	want := []instance{
		{"order/shop/a", "order", "[2001:db8::1]:9001", 60}, // Its own kind of addresses.
		{"user/shop/a", "user", "10.0.0.1:9001", 50},
		{"user/shop/b", "user", "10.0.0.2:9001", 50}, // As old as the oldest slice.
	}
	if !reflect.DeepEqual(got, want) || len(l.withdrawn) != 1 {
		t.Errorf("got %v, want %v, the last of them withdrawn", got, want)
	}
	var skipped []string
	for _, s := range l.skipped {
		skipped = append(skipped, s.ID)
	}
	if want := []string{"shop/stray", "user/shop/b", "user/shop/c", "web/shop/web-1"}; !reflect.DeepEqual(skipped, want) {
		t.Errorf("skipped %v, want %v", skipped, want)
	}
}

func TestCatalogAsksForAllServices(t *testing.T) {
	server := newServer(t, false)
	server.set(slice("1", pod("a", "10.0.0.1", "")))
	server.set(of("order", 1, slice("2", pod("a", "10.0.0.1", ""))))
	c := provisionedCatalog(t, &Catalog{Namespace: "shop", Kubeconfig: server.kubeconfig(t)})
	until := watching(t, c)
	until("both services", has("order/shop/a", "user/shop/a"))
	server.mu.Lock()
	defer server.mu.Unlock()
	for i, q := range server.asked {
		if q.Has("labelSelector") {
			t.Errorf("question %d: %v", i, q)
		}
	}
}

func TestCatalogProvision(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "shop")
	ids := map[string]string{"source": provisioned(t, &Source{Namespace: "shop", Service: "user"}).ID()}
	for name, c := range map[string]*Catalog{
		"default":   {Namespace: "{env.POD_NAMESPACE}"},
		"namespace": {Namespace: "other"},
		"port":      {Namespace: "shop", Port: "grpc"},
		"hold":      {Namespace: "shop", Hold: -1},
	} {
		id := provisionedCatalog(t, c).ID()
		for twin, other := range ids {
			if id == other {
				t.Errorf("%s and %s have the ID %s", name, twin, id)
			}
		}
		ids[name] = id
	}
	if want := "kubernetes:///shop/"; ids["default"] != want {
		t.Errorf("ID %s, want %s", ids["default"], want)
	}
	for want, c := range map[string]*Catalog{
		"expected one namespace":                                {},
		"expected the name of a namespace in Kubernetes, found": {Namespace: "shop/user"},
		"context: expected a kubeconfig":                        {Namespace: "shop", Context: "prod"},
		"kubeconfig: open ":                                     {Namespace: "shop", Kubeconfig: t.TempDir() + "/none"},
		"namespace: ":                                           {Namespace: "{env.UNSET_NAMESPACE}"},
	} {
		wantErr(t, c.Provision(caddy.Context{}), want)
	}
}

func TestCatalogUnmarshalCaddyfile(t *testing.T) {
	for input, want := range map[string]Catalog{
		"kubernetes shop":                           {Namespace: "shop"},
		"kubernetes {env.POD_NAMESPACE} {\n}":       {Namespace: "{env.POD_NAMESPACE}"},
		"kubernetes shop {\nport 9001\nhold off\n}": {Namespace: "shop", Port: "9001", Hold: -1},
		"kubernetes shop {\nport grpc\nkubeconfig /etc/k\ncontext prod\nhold 5s\n}": {
			Namespace: "shop", Port: "grpc", Kubeconfig: "/etc/k", Context: "prod", Hold: caddy.Duration(5 * time.Second),
		},
	} {
		got := new(Catalog)
		if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", input, *got, err, want)
		}
	}
	for input, want := range map[string]string{
		"kubernetes":                               "expected one namespace, as in: catalog fleet kubernetes shop",
		"kubernetes shop order":                    "expected one namespace",
		"consul shop":                              "catalog consul: expected kubernetes",
		"kubernetes shop/user":                     `catalog kubernetes: expected the name of a namespace in Kubernetes, found "shop/user"`,
		"kubernetes shop {\nlimt 5\n}":             `unknown option "limt" of catalog kubernetes: expected context, hold, kubeconfig or port`,
		"kubernetes shop {\nport a\nport b\n}":     "option port of catalog kubernetes is given twice",
		"kubernetes shop {\nport\n}":               "argument",
		"kubernetes shop {\nhold soon\n}":          "expected a duration, such as 60s, or off",
		"kubernetes shop {\ncontext prod\n}":       "context: expected a kubeconfig",
		"kubernetes shop {\nport grpc http\n}":     "argument",
		"kubernetes shop {\nkubeconfig \"\"\n}":    "argument",
		"kubernetes shop {\nhold 1s\nhold 2s\n}":   "option hold of catalog kubernetes is given twice",
		"kubernetes shop/user:grpc {\nhold 1s\n}":  "expected the name of a namespace",
		"kubernetes shop {\nkubeconfig /a /b\n}\n": "argument",
	} {
		wantErr(t, new(Catalog).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)), want)
	}
}
