package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-grpc/gateway/discovery"
)

// maxWeight bounds what a registration can claim for itself, so that sums of weights stay far from
// overflow.
const maxWeight = 1_000_000

// endpoint is the common end of the single-address parsers.
func endpoint(key, addr string, weight uint32, metadata map[string]string) ([]discovery.Endpoint, error) {
	if err := discovery.CheckAddr(addr); err != nil {
		return nil, err
	}
	if len(metadata) == 0 {
		metadata = nil
	}
	return []discovery.Endpoint{{ID: key, Addr: addr, Weight: weight, Metadata: metadata}}, nil
}

// parseGoZero reads the value that go-zero's discov.Publisher writes (core/discov/publisher.go):
// the address as it is.
func parseGoZero(key, value string) ([]discovery.Endpoint, error) {
	return endpoint(key, strings.TrimSpace(value), 0, nil)
}

// parsePlain reads host:port[?weight=n]; other parameters become metadata.
func parsePlain(key, value string) ([]discovery.Endpoint, error) {
	addr, query, _ := strings.Cut(strings.TrimSpace(value), "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("expected host:port?name=value: %w", err)
	}
	var weight uint32
	metadata := make(map[string]string, len(params))
	for name, values := range params {
		if name == "weight" {
			weight = textWeight(values[0])
			continue
		}
		metadata[name] = values[0]
	}
	return endpoint(key, addr, weight, metadata)
}

// parseNaming reads the value of etcd's client/v3/naming/endpoints, whose names of fields are
// capitalised. Metadata may be any JSON; a member "weight" of an object is the weight.
func parseNaming(key, value string) ([]discovery.Endpoint, error) {
	var update struct {
		Op       uint8
		Addr     string
		Metadata json.RawMessage
	}
	if err := decodeObject(value, &update); err != nil {
		return nil, fmt.Errorf(`expected {"Op":0,"Addr":"host:port"}: %w`, err)
	}
	switch {
	case update.Op == 1:
		return nil, errors.New("expected Op 0 (add), found 1: the registration marks itself as deleted")
	case update.Op != 0:
		return nil, fmt.Errorf("expected Op 0 (add), found %d", update.Op)
	case update.Addr == "":
		return nil, errors.New("expected an Addr, found none")
	}
	metadata, weight := flatten(update.Metadata)
	return endpoint(key, update.Addr, weight, metadata)
}

// parseKratos reads a registry.ServiceInstance of kratos v2. Of its endpoints the first with scheme
// grpc or, if there is none, grpcs is taken; others, such as http, belong to other protocols. The
// weight is the text of metadata.weight.
func parseKratos(key, value string) ([]discovery.Endpoint, error) {
	var instance struct {
		ID        string            `json:"id"`
		Version   string            `json:"version"`
		Metadata  map[string]string `json:"metadata"`
		Endpoints []string          `json:"endpoints"`
	}
	if err := decodeObject(value, &instance); err != nil {
		return nil, fmt.Errorf(`expected {"id":…,"endpoints":["grpc://host:port"]}: %w`, err)
	}
	for _, scheme := range []string{"grpc", "grpcs"} {
		for _, e := range instance.Endpoints {
			u, err := url.Parse(e)
			if err != nil || u.Scheme != scheme {
				continue
			}
			metadata := instance.Metadata
			if instance.Version != "" && metadata["version"] == "" {
				metadata = merged(metadata, "version", instance.Version)
			}
			return endpoint(key, u.Host, textWeight(metadata["weight"]), metadata)
		}
	}
	return nil, fmt.Errorf("expected a grpc:// endpoint, found %s", excerptList(instance.Endpoints))
}

// parseKitex reads the instanceInfo of kitex's registry-etcd (common.go). Kitex takes a weight of 0
// or less for its default, here it is one that the registry does not say.
func parseKitex(key, value string) ([]discovery.Endpoint, error) {
	var info struct {
		Network string            `json:"network"`
		Address string            `json:"address"`
		Weight  int64             `json:"weight"`
		Tags    map[string]string `json:"tags"`
	}
	if err := decodeObject(value, &info); err != nil {
		return nil, fmt.Errorf(`expected {"network":"tcp","address":"host:port"}: %w`, err)
	}
	switch info.Network {
	case "", "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("expected network tcp, found %s", discovery.Excerpt(info.Network))
	}
	return endpoint(key, info.Address, intWeight(info.Weight), info.Tags)
}

// parseMicro reads a registry.Service of go-micro with its nodes; go-micro writes one node per key.
// Nodes of older versions have their port apart.
func parseMicro(key, value string) ([]discovery.Endpoint, error) {
	var service struct {
		Version string `json:"version"`
		Nodes   []struct {
			ID       string            `json:"id"`
			Address  string            `json:"address"`
			Port     int               `json:"port"`
			Metadata map[string]string `json:"metadata"`
		} `json:"nodes"`
	}
	if err := decodeObject(value, &service); err != nil {
		return nil, fmt.Errorf(`expected {"nodes":[{"address":"host:port"}]}: %w`, err)
	}
	if len(service.Nodes) == 0 {
		return nil, errors.New("expected nodes, found none")
	}
	var all []discovery.Endpoint
	other := "" // protocol
	for i, node := range service.Nodes {
		if p := node.Metadata["protocol"]; p == "http" || p == "mucp" {
			other = p
			continue
		}
		addr, id, metadata := node.Address, key, node.Metadata
		if node.Port != 0 {
			addr += ":" + strconv.Itoa(node.Port)
		}
		if len(all) > 0 {
			id += "#" + node.ID
			if slices.ContainsFunc(all, func(e discovery.Endpoint) bool { return e.ID == id }) {
				return nil, fmt.Errorf("expected nodes with different ids, found %s twice", discovery.Excerpt(node.ID))
			}
		}
		if service.Version != "" && metadata["version"] == "" {
			metadata = merged(metadata, "version", service.Version)
		}
		one, err := endpoint(id, addr, textWeight(metadata["weight"]), metadata)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		all = append(all, one...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("expected a node with protocol grpc, found %s", discovery.Excerpt(other))
	}
	return all, nil
}

// parseAuto recognises a value: text is an address, JSON is told by its members. The order matters:
// go-micro's services have "endpoints" as well, with another meaning than kratos's.
func parseAuto(key, value string) ([]discovery.Endpoint, error) {
	if !strings.HasPrefix(strings.TrimSpace(value), "{") {
		return parsePlain(key, value)
	}
	var members map[string]json.RawMessage
	if err := decodeObject(value, &members); err != nil {
		return nil, fmt.Errorf("expected host:port or a JSON object: %w", err)
	}
	has := func(name string) bool { _, ok := members[name]; return ok }
	switch {
	case has("nodes"):
		return parseMicro(key, value)
	case has("endpoints"):
		return parseKratos(key, value)
	case has("Addr"):
		return parseNaming(key, value)
	case has("address"):
		return parseKitex(key, value)
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("expected JSON with Addr (etcd), endpoints (kratos), address (kitex) or nodes (micro), found members %s", excerptList(names))
}

// decodeObject decodes a JSON object; another JSON value, null among them, is an error.
func decodeObject(value string, to any) error {
	if !strings.HasPrefix(strings.TrimSpace(value), "{") {
		return fmt.Errorf("expected a JSON object, found %s", discovery.Excerpt(value))
	}
	return json.Unmarshal([]byte(value), to)
}

// flatten makes text of metadata that may be any JSON: members of an object by name, another value
// under the name "metadata".
func flatten(raw json.RawMessage) (metadata map[string]string, weight uint32) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, 0
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return map[string]string{"metadata": jsonText(raw)}, 0
	}
	metadata = make(map[string]string, len(members))
	for name, v := range members {
		metadata[name] = jsonText(v)
	}
	return metadata, textWeight(metadata["weight"])
}

// jsonText is a JSON string's content, and other JSON as it stands.
func jsonText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// textWeight reads a weight. A weight that makes no sense does not cost the instance: it counts
// as no weight.
func textWeight(s string) uint32 {
	f, err := strconv.ParseFloat(s, 64) // JSON numbers may come as 10.0
	if err != nil || math.IsNaN(f) || f < 1 {
		return 0
	}
	return uint32(min(f, maxWeight))
}

func intWeight(n int64) uint32 { return uint32(max(0, min(n, maxWeight))) }

func merged(m map[string]string, name, value string) map[string]string {
	out := make(map[string]string, len(m)+1)
	for k, v := range m {
		out[k] = v
	}
	out[name] = value
	return out
}

func excerptList(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return discovery.Excerpt(strings.Join(list, ", "))
}
