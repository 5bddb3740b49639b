package kubernetes

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// grpcPort is the port of all pods.
const grpcPort = 9001

// as is a client with a token.
func (s *apiServer) as(t *testing.T, token string) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: s.config.Host, BearerToken: token, TLSClientConfig: s.config.TLSClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// pod is a pod of a service, with an address of its own as in a cluster.
type pod struct {
	name, ip    string
	terminating bool // It still serves.
	backend     *testkit.Backend
}

func (p pod) addr() string { return net.JoinHostPort(p.ip, fmt.Sprint(grpcPort)) }

// startPod starts an instance at the address of a pod.
func startPod(t *testing.T, name, ip, grpcService, answer, rule string) pod {
	t.Helper()
	p := pod{name: name, ip: ip}
	p.backend = testkit.StartNamedAt(t, p.addr(), grpcService, answer, rule)
	return p
}

func startUser(t *testing.T, name, ip string) pod {
	t.Helper()
	return startPod(t, name, ip, "user.v1.Users", "user", "GET /v1/users/{value}")
}

// set creates or updates a slice of a service, as the controller of Kubernetes does.
func (s *apiServer) set(t *testing.T, service, name string, pods ...pod) {
	t.Helper()
	yes, no, http2 := true, false, "grpc"
	port, protocol := int32(grpcPort), corev1.ProtocolTCP
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &http2, Port: &port, Protocol: &protocol, AppProtocol: &http2}},
	}
	for _, p := range pods {
		conditions := discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no}
		if p.terminating {
			conditions.Ready, conditions.Terminating = &no, &yes
		}
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{p.ip}, Conditions: conditions,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: p.name, UID: types.UID("uid-of-" + p.name)},
		})
	}
	slices := s.client.DiscoveryV1().EndpointSlices(namespace)
	old, err := slices.Get(t.Context(), name, metav1.GetOptions{})
	if err == nil {
		slice.ResourceVersion = old.ResourceVersion
		_, err = slices.Update(t.Context(), slice, metav1.UpdateOptions{})
	} else {
		_, err = slices.Create(t.Context(), slice, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *apiServer) remove(t *testing.T, name string) {
	t.Helper()
	if err := s.client.DiscoveryV1().EndpointSlices(namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// kinds are the ways in which the gateway finds services in Kubernetes. options goes into the block
// of each.
func kinds(options string) map[string]kit.Options {
	kinds := map[string]kit.Options{
		"source": {Site: fmt.Sprintf("grpc_gateway {\n upstream user {\n discover kubernetes {env.POD_NAMESPACE}/user:grpc {\n %s\n }\n }\n }", options)},
		"catalog": {
			Global: fmt.Sprintf("grpc_gateway {\n catalog fleet kubernetes {env.POD_NAMESPACE} {\n port grpc\n %s\n }\n }", options),
			Site:   "grpc_gateway catalog:fleet {\n expose *\n }",
		},
	}
	for name, k := range kinds {
		k.Binary = binary("caddy")
		kinds[name] = k
	}
	return kinds
}

// held checks that a pod is used that no slice has.
func held(caddy *kit.Caddy, p pod) error {
	upstreams, err := caddy.Upstreams()
	if err != nil {
		return err
	}
	for _, u := range upstreams {
		for _, e := range u.Endpoints {
			if e.Address == p.addr() && e.State == "held" {
				return nil
			}
		}
	}
	return fmt.Errorf("%+v", upstreams)
}

// TestKubernetes lets pods come, terminate and go, and takes the API server and the token away. The
// gateway has the service account of a pod, with the Role of the example. No call fails.
func TestKubernetes(t *testing.T) {
	for name, options := range kinds("") {
		t.Run(name, func(t *testing.T) {
			s := startAPIServer(t)
			s.mount(t, s.token(t, "old"))
			one, two, three := startUser(t, "one", "192.0.2.11"), startUser(t, "two", "192.0.2.12"), startUser(t, "three", "192.0.2.13")
			s.set(t, "user", "user-1", one)
			options.Env = s.env()
			caddy := kit.StartCaddy(t, options)
			kit.Eventually(t, 30*time.Second, "the first pod answers", func() error { return caddy.Answers("/v1/users/me") })
			load := caddy.LoadUsers()
			ready := func(what string, pods ...pod) {
				t.Helper()
				var addrs []string
				for _, p := range pods {
					addrs = append(addrs, p.addr())
				}
				t.Logf("%v: %s", caddy.WaitReady(t, 30*time.Second, addrs...).Round(time.Millisecond), what)
			}

			s.set(t, "user", "user-2", two)
			ready("in use after its slice was created", one, two)
			s.set(t, "user", "user-2", two, three)
			ready("in use after its slice was updated", one, two, three)
			two.terminating = true
			s.set(t, "user", "user-2", two, three)
			ready("out of use after it began to terminate, and still served", one, three)
			s.remove(t, "user-1")
			ready("out of use after its slice was deleted", three)

			s.stop()
			t.Logf("%v: trouble is shown after the API server's end", caddy.Trouble(t, "EndpointSlices: "))
			ready("still in use without an API server", three)
			s.start(t)
			t.Logf("%v: no trouble any more after its restart", caddy.Trouble(t, ""))
			s.set(t, "user", "user-1", one)
			ready("in use after its slice was created, after the restart", one, three)

			fresh := s.token(t, "new")
			s.revoke(t, "old")
			s.stop() // The next watch needs the token.
			s.start(t)
			t.Logf("%v: trouble is shown after the token was revoked", caddy.Trouble(t, "Unauthorized"))
			s.mount(t, fresh)
			t.Logf("%v: no trouble any more after the token was renewed", caddy.Trouble(t, ""))
			s.remove(t, "user-1")
			ready("out of use after its slice was deleted, after the new token", three)

			// Nothing is left. That is doubted, because the pod is still there.
			s.remove(t, "user-2")
			kit.Eventually(t, 30*time.Second, "the last pod is held", func() error { return held(caddy, three) })
			s.set(t, "user", "user-2", three)
			ready("in use as before after its slice came back", three)
			kit.NoFailures(t, load.Stop(), 50)
		})
	}
}

// TestCatalogOfKubernetes lets a service come that no config names, and lets it go again.
func TestCatalogOfKubernetes(t *testing.T) {
	s := startAPIServer(t)
	s.mount(t, s.token(t, "gateway"))
	s.set(t, "user", "user-1", startUser(t, "one", "192.0.2.11"))
	options := kinds("")["catalog"]
	options.Env = s.env()
	caddy := kit.StartCaddy(t, options)
	kit.Eventually(t, 30*time.Second, "the first service answers", func() error { return caddy.Answers("/v1/users/me") })
	load := caddy.LoadUsers()
	order := startPod(t, "order", "192.0.2.21", "order.v1.Orders", "order", "GET /v1/orders/{value}")
	s.set(t, "order", "order-1", order)
	t.Logf("a new service answers %v after its slice was created", kit.Eventually(t, 30*time.Second, "it answers", func() error {
		return caddy.Answers("/v1/orders/7")
	}))
	order.terminating = true
	s.set(t, "order", "order-1", order)
	order.backend.GracefulStop()
	s.remove(t, "order-1")
	t.Logf("it has gone %v after its slice was deleted", kit.Eventually(t, 30*time.Second, "404", func() error {
		code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/orders/7"))
		if err != nil || code != http.StatusNotFound {
			return fmt.Errorf("status %d, %s, %w", code, body, err)
		}
		return nil
	}))
	kit.NoFailures(t, load.Stop(), 20)
}
