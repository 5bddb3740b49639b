package kubernetes

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/caddy-grpc/gateway/discovery"
)

// list is what the EndpointSlices of a service mean.
type list struct {
	endpoints []discovery.Endpoint
	skipped   []discovery.Skipped
	// withdrawn are pods that terminate, because somebody has deleted or replaced them.
	withdrawn []discovery.Endpoint
}

// status is what a pod is fit for. While slices are rearranged, a pod may be in two of them. Then
// the higher status counts.
type status int

const (
	skipped status = iota
	withdrawn
	ready
)

// entry is a pod in a slice.
type entry struct {
	endpoint discovery.Endpoint
	status   status
	reason   string // why it is skipped
}

// convert makes the list of a service. port is the name or number of a port of the pods, or "" for
// the one that speaks gRPC.
func convert(all []*discoveryv1.EndpointSlice, port string) list {
	family := family(all)
	entries := make(map[string]entry)
	var l list
	for _, slice := range all {
		if len(slice.Endpoints) == 0 || slice.AddressType == discoveryv1.AddressTypeIPv6 && family == discoveryv1.AddressTypeIPv4 {
			continue
		}
		number, err := choosePort(slice.Ports, port)
		if err == nil && slice.AddressType == discoveryv1.AddressTypeFQDN {
			err = fmt.Errorf("expected IP addresses, found the type %s", slice.AddressType)
		}
		if err != nil {
			l.skipped = append(l.skipped, discovery.Skipped{ID: slice.Namespace + "/" + slice.Name, Reason: err.Error()})
			continue
		}
		for i := range slice.Endpoints {
			id, e := convertEndpoint(slice.Namespace, &slice.Endpoints[i], number)
			if known, ok := entries[id]; !ok || known.status < e.status {
				entries[id] = e
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		l.add(id, entries[id])
	}
	slices.SortFunc(l.skipped, func(a, b discovery.Skipped) int { return cmp.Compare(a.ID, b.ID) })
	return l
}

func (l *list) add(id string, e entry) {
	switch e.status {
	case ready:
		l.endpoints = append(l.endpoints, e.endpoint)
	case withdrawn:
		l.withdrawn = append(l.withdrawn, e.endpoint)
		fallthrough
	default:
		l.skipped = append(l.skipped, discovery.Skipped{ID: id, Reason: e.reason})
	}
}

// family returns the kind of addresses to use. A service with both kinds has two slices for each
// pod, which is one instance.
func family(all []*discoveryv1.EndpointSlice) discoveryv1.AddressType {
	for _, slice := range all {
		if slice.AddressType == discoveryv1.AddressTypeIPv4 && len(slice.Endpoints) > 0 {
			return discoveryv1.AddressTypeIPv4
		}
	}
	return discoveryv1.AddressTypeIPv6
}

func convertEndpoint(namespace string, e *discoveryv1.Endpoint, port int32) (id string, _ entry) {
	if len(e.Addresses) == 0 {
		return namespace + "/", entry{reason: "expected an address, found none"}
	}
	// All addresses lead to the same pod, so the first one is enough (discovery.k8s.io/v1).
	addr := net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(port)))
	id = addr
	metadata := make(map[string]string)
	var registration int64
	if ref := e.TargetRef; ref != nil && ref.Name != "" {
		id = namespace + "/" + ref.Name
		metadata["pod"] = ref.Name
		registration = registrationOf(string(ref.UID))
	}
	if e.NodeName != nil {
		metadata["node"] = *e.NodeName
	}
	if e.Zone != nil {
		metadata["zone"] = *e.Zone
	}
	result := entry{endpoint: discovery.Endpoint{ID: id, Addr: addr, Registration: registration, Metadata: metadata}}
	switch {
	case isTrue(e.Conditions.Terminating, false):
		result.status, result.reason = withdrawn, "expected a ready pod, found one that terminates"
	case !isTrue(e.Conditions.Ready, true): // A missing condition counts as ready.
		result.reason = "expected a ready pod, found one that is not"
	default:
		result.status = ready
		if err := discovery.CheckAddr(addr); err != nil {
			result.status, result.reason = skipped, err.Error()
		}
	}
	return id, result
}

// registrationOf tells pods apart that have the same name and address, one after the other.
func registrationOf(uid string) int64 {
	if uid == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid))    // It never fails.
	return int64(h.Sum64()>>1) | 1 // One bit is lost on purpose.
}

func isTrue(condition *bool, missing bool) bool {
	if condition == nil {
		return missing
	}
	return *condition
}

// choosePort returns the number of a port of the pods.
func choosePort(ports []discoveryv1.EndpointPort, want string) (int32, error) {
	var names []string
	var grpc []int32
	var all []int32
	for _, p := range ports {
		if p.Port == nil || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			continue
		}
		name, number := value(p.Name), *p.Port
		if want != "" && (want == name || want == strconv.Itoa(int(number))) {
			return number, nil
		}
		if protocol := value(p.AppProtocol); protocol == "grpc" || protocol == "kubernetes.io/h2c" {
			grpc = append(grpc, number)
		}
		all = append(all, number)
		names = append(names, cmp.Or(name, strconv.Itoa(int(number))))
	}
	found := "none"
	if len(names) > 0 {
		found = strings.Join(names, ", ")
	}
	switch {
	case want != "":
		return 0, fmt.Errorf("expected a port %s, found %s", discovery.Excerpt(want), found)
	case len(grpc) == 1:
		return grpc[0], nil
	case len(grpc) == 0 && len(all) == 1:
		return all[0], nil
	}
	return 0, fmt.Errorf("expected the name of a port, or one port with the appProtocol grpc or kubernetes.io/h2c, found %s", found)
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
