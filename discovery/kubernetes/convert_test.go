package kubernetes

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/caddy-grpc/gateway/discovery"
)

// addrs returns the addresses of endpoints by ID.
func addrs(list []discovery.Endpoint) map[string]string {
	m := make(map[string]string)
	for _, e := range list {
		m[e.ID] = e.Addr
	}
	return m
}

func TestConvert(t *testing.T) {
	with := func(s *discoveryv1.EndpointSlice, fn func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
		fn(s)
		return s
	}
	a, b := map[string]string{"shop/a": "10.0.0.1:9001"}, map[string]string{"shop/a": "10.0.0.1:9001", "shop/b": "10.0.0.2:9001"}
	none := map[string]string{}
	for name, c := range map[string]struct {
		slices          []*discoveryv1.EndpointSlice
		want, withdrawn map[string]string
		skipped         map[string]string // parts of the reasons
	}{
		"nothing":             {want: none},
		"an empty slice":      {slices: []*discoveryv1.EndpointSlice{slice("1")}, want: none},
		"ready pods":          {slices: []*discoveryv1.EndpointSlice{slice("1", pod("b", "10.0.0.2", ""), pod("a", "10.0.0.1", ""))}, want: b},
		"pods in two slices":  {slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "10.0.0.1", "")), slice("2", pod("b", "10.0.0.2", ""))}, want: b},
		"a pod in two slices": {slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "10.0.0.1", "")), slice("2", pod("a", "10.0.0.1", "notready"))}, want: a},
		"a pod that is not ready": {
			slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "10.0.0.1", ""), pod("b", "10.0.0.2", "notready"))},
			want:   a, skipped: map[string]string{"shop/b": "found one that is not"},
		},
		"a pod that terminates and serves": {
			slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "10.0.0.1", "terminating serving"))},
			want:   none, withdrawn: a, skipped: map[string]string{"shop/a": "found one that terminates"},
		},
		"a pod that terminates": {
			slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "10.0.0.1", "terminating"))},
			want:   none, withdrawn: a, skipped: map[string]string{"shop/a": "found one that terminates"},
		},
		"a pod without conditions": {
			slices: []*discoveryv1.EndpointSlice{slice("1", discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}})},
			want:   map[string]string{"10.0.0.1:9001": "10.0.0.1:9001"},
		},
		"a pod without an address": {
			slices: []*discoveryv1.EndpointSlice{slice("1", discoveryv1.Endpoint{})},
			want:   none, skipped: map[string]string{"shop/": "expected an address"},
		},
		"a pod with an address that cannot be dialled": {
			slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "0.0.0.0", ""))},
			want:   none, skipped: map[string]string{"shop/a": "not an unspecified one"},
		},
		"both families": {
			slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "10.0.0.1", "")), with(slice("2", pod("a", "2001:db8::1", "")), func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeIPv6 })},
			want:   a,
		},
		"IPv6 alone": {
			slices: []*discoveryv1.EndpointSlice{slice("1"), with(slice("2", pod("a", "2001:db8::1", "")), func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeIPv6 })},
			want:   map[string]string{"shop/a": "[2001:db8::1]:9001"},
		},
		"host names": {
			slices: []*discoveryv1.EndpointSlice{with(slice("1", pod("a", "a.internal", "")), func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeFQDN })},
			want:   none, skipped: map[string]string{"shop/1": "expected IP addresses"},
		},
		"a slice without the port": {
			slices: []*discoveryv1.EndpointSlice{slice("1", pod("a", "10.0.0.1", "")), with(slice("2", pod("b", "10.0.0.2", "")), func(s *discoveryv1.EndpointSlice) { s.Ports = nil })},
			want:   a, skipped: map[string]string{"shop/2": "found none"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := convert(c.slices, "grpc")
			if got := addrs(l.endpoints); !reflect.DeepEqual(got, c.want) {
				t.Errorf("endpoints %v, want %v", got, c.want)
			}
			if got := addrs(l.withdrawn); len(got)+len(c.withdrawn) > 0 && !reflect.DeepEqual(got, c.withdrawn) {
				t.Errorf("withdrawn %v, want %v", got, c.withdrawn)
			}
			if len(l.skipped) != len(c.skipped) {
				t.Errorf("skipped %+v, want %v", l.skipped, c.skipped)
			}
			for _, s := range l.skipped {
				if !strings.Contains(s.Reason, c.skipped[s.ID]) || c.skipped[s.ID] == "" {
					t.Errorf("skipped %+v, want %v", s, c.skipped)
				}
			}
		})
	}
}

func TestConvertMetadata(t *testing.T) {
	p := pod("a", "10.0.0.1", "")
	p.NodeName, p.Zone, p.TargetRef.UID = ptr("node-1"), ptr("zone-b"), "0c1d"
	e := convert([]*discoveryv1.EndpointSlice{slice("1", p)}, "").endpoints[0]
	if want := map[string]string{"pod": "a", "node": "node-1", "zone": "zone-b"}; !reflect.DeepEqual(e.Metadata, want) {
		t.Errorf("metadata %v, want %v", e.Metadata, want)
	}
	again := pod("a", "10.0.0.1", "")
	again.TargetRef.UID = "0c1e"
	if other := convert([]*discoveryv1.EndpointSlice{slice("1", again)}, "").endpoints[0]; other.Registration == e.Registration || e.Registration == 0 {
		t.Errorf("a pod that has taken the place of another has the registration %d, as %d", other.Registration, e.Registration)
	}
}

func TestListsAreSorted(t *testing.T) {
	l := convert([]*discoveryv1.EndpointSlice{slice("1", pod("c", "10.0.0.3", ""), pod("a", "10.0.0.1", ""), pod("d", "10.0.0.4", "notready"), pod("b", "10.0.0.2", "notready"))}, "grpc")
	if l.endpoints[0].ID != "shop/a" || l.endpoints[1].ID != "shop/c" || l.skipped[0].ID != "shop/b" || l.skipped[1].ID != "shop/d" {
		t.Errorf("got %+v", l)
	}
}

func TestChoosePort(t *testing.T) {
	named := func(name string, number int32, protocol string) discoveryv1.EndpointPort {
		p := discoveryv1.EndpointPort{Name: &name, Port: &number}
		if protocol != "" {
			p.AppProtocol = &protocol
		}
		return p
	}
	udp := named("grpc", 53, "grpc")
	udp.Protocol = ptr(corev1.ProtocolUDP)
	for name, c := range map[string]struct {
		ports []discoveryv1.EndpointPort
		want  string
		port  int32
		err   string
	}{
		"by name":                   {[]discoveryv1.EndpointPort{named("http", 80, ""), named("grpc", 9001, "")}, "grpc", 9001, ""},
		"by number":                 {[]discoveryv1.EndpointPort{named("http", 80, ""), named("grpc", 9001, "")}, "9001", 9001, ""},
		"by appProtocol grpc":       {[]discoveryv1.EndpointPort{named("http", 80, "http"), named("api", 9001, "grpc")}, "", 9001, ""},
		"by appProtocol h2c":        {[]discoveryv1.EndpointPort{named("http", 80, ""), named("api", 9001, "kubernetes.io/h2c")}, "", 9001, ""},
		"the only one":              {[]discoveryv1.EndpointPort{named("", 9001, "")}, "", 9001, ""},
		"not by UDP":                {[]discoveryv1.EndpointPort{udp, named("api", 9001, "")}, "grpc", 0, `expected a port "grpc", found api`},
		"one of two, none for gRPC": {[]discoveryv1.EndpointPort{named("http", 80, ""), named("", 81, "")}, "", 0, "appProtocol grpc or kubernetes.io/h2c, found http, 81"},
		"one of two for gRPC":       {[]discoveryv1.EndpointPort{named("a", 80, "grpc"), named("b", 81, "grpc")}, "", 0, "found a, b"},
		"another name":              {[]discoveryv1.EndpointPort{named("http", 80, "")}, "grpc", 0, `expected a port "grpc", found http`},
		"none":                      {nil, "", 0, "found none"},
		"all ports":                 {[]discoveryv1.EndpointPort{{}}, "", 0, "found none"},
	} {
		t.Run(name, func(t *testing.T) {
			port, err := choosePort(c.ports, c.want)
			if port != c.port || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %d, %v, want %d, %q", port, err, c.port, c.err)
			}
		})
	}
}
