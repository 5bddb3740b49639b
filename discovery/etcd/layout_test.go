package etcd

import (
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		layout    Layout
		key, want string
	}{
		{LayoutAuto, "user.rpc", "user.rpc/"},
		{LayoutAuto, "user.rpc/", "user.rpc/"},
		{LayoutAuto, "/services/user", "/services/user/"},
		{LayoutGoZero, "user.rpc", "user.rpc/"},
		{LayoutEtcd, "user", "user/"},
		{LayoutPlain, "a/b", "a/b/"},
		{LayoutKratos, "helloworld", "/microservices/helloworld/"},
		{LayoutKratos, "/microservices/helloworld", "/microservices/helloworld/"},
		{LayoutKratos, "/other/helloworld", "/other/helloworld/"},
		{LayoutKitex, "echo", "kitex/registry-etcd/echo/"},
		{LayoutKitex, "kitex/registry-etcd/echo", "kitex/registry-etcd/echo/"},
		{LayoutMicro, "greeter", "/micro/registry/greeter/"},
	} {
		got, err := c.layout.Prefix(c.key)
		if err != nil || got != c.want {
			t.Errorf("%s %q: got %q, %v, want %q", c.layout, c.key, got, err, c.want)
		}
	}
	for _, key := range []string{"", "/", "//"} {
		if got, err := LayoutAuto.Prefix(key); err == nil {
			t.Errorf("key %q: got prefix %q, want an error: it would watch everything", key, got)
		}
	}
}

func TestParseLayout(t *testing.T) {
	if got, err := ParseLayout(""); got != LayoutAuto || err != nil {
		t.Errorf("no layout: got %q, %v", got, err)
	}
	if got, err := ParseLayout("kitex"); got != LayoutKitex || err != nil {
		t.Errorf("kitex: got %q, %v", got, err)
	}
	_, err := ParseLayout("zookeeper")
	wantErr(t, err, `unknown etcd layout "zookeeper": expected auto, gozero, etcd, kratos, kitex, micro or plain`)
}

// The values are what the registries' own code writes.
const (
	kratosValue = `{"id":"d0a1","name":"helloworld","version":"v1.2","metadata":{"weight":"30","zone":"a"},"endpoints":["http://10.0.0.1:8000","grpc://10.0.0.1:9000?isSecure=false"]}`
	kitexValue  = `{"network":"tcp","address":"10.0.0.1:8888","weight":20,"tags":{"zone":"a"}}`
	namingValue = `{"Op":0,"Addr":"10.0.0.1:9001","Metadata":{"weight":5,"zone":"a","n":{"x":[1]}}}`
	microValue  = `{"name":"greeter","version":"latest","metadata":null,"endpoints":[{"name":"Greeter.Hello","request":null,"response":null,"metadata":{}}],"nodes":[{"id":"greeter-1","address":"10.0.0.1:9001","metadata":{"protocol":"grpc","weight":"7"}}]}`
)

func TestParse(t *testing.T) {
	const id = "p/1"
	one := func(addr string, weight uint32, pairs ...string) []discovery.Endpoint {
		e := discovery.Endpoint{ID: id, Addr: addr, Weight: weight}
		for i := 0; i < len(pairs); i += 2 {
			if e.Metadata == nil {
				e.Metadata = map[string]string{}
			}
			e.Metadata[pairs[i]] = pairs[i+1]
		}
		return []discovery.Endpoint{e}
	}
	naming := one("10.0.0.1:9001", 5, "weight", "5", "zone", "a", "n", `{"x":[1]}`)
	kratos := one("10.0.0.1:9000", 30, "weight", "30", "zone", "a", "version", "v1.2")
	kitex := one("10.0.0.1:8888", 20, "zone", "a")
	micro := one("10.0.0.1:9001", 7, "protocol", "grpc", "weight", "7", "version", "latest")
	for name, c := range map[string]struct {
		layout Layout
		value  string
		want   []discovery.Endpoint
		err    string // part of the reason
	}{
		"go-zero":                      {LayoutGoZero, "10.0.0.1:8080", one("10.0.0.1:8080", 0), ""},
		"go-zero with a line end":      {LayoutGoZero, "10.0.0.1:8080\n", one("10.0.0.1:8080", 0), ""},
		"go-zero on all interfaces":    {LayoutGoZero, "0.0.0.0:8080", nil, `not an unspecified one, in "0.0.0.0:8080"`},
		"go-zero with nothing":         {LayoutGoZero, "", nil, `expected host:port, found ""`},
		"go-zero with JSON":            {LayoutGoZero, kitexValue, nil, "expected"},
		"go-zero on a socket":          {LayoutGoZero, "unix//run/docker.sock", nil, "which only a config may name"},
		"plain":                        {LayoutPlain, "user.internal:80", one("user.internal:80", 0), ""},
		"plain with weight":            {LayoutPlain, "[::1]:80?weight=10&zone=b", one("[::1]:80", 10, "zone", "b"), ""},
		"plain with a broken weight":   {LayoutPlain, "a:80?weight=heavy", one("a:80", 0), ""},
		"plain with a broken query":    {LayoutPlain, "a:80?x=%zz", nil, "expected host:port?name=value"},
		"plain without a port":         {LayoutPlain, "a", nil, "expected host:port"},
		"etcd":                         {LayoutEtcd, namingValue, naming, ""},
		"etcd without metadata":        {LayoutEtcd, `{"Op":0,"Addr":"a:1","Metadata":null}`, one("a:1", 0), ""},
		"etcd with text as metadata":   {LayoutEtcd, `{"Addr":"a:1","Metadata":"blue"}`, one("a:1", 0, "metadata", "blue"), ""},
		"etcd with a deletion":         {LayoutEtcd, `{"Op":1,"Addr":"a:1"}`, nil, "marks itself as deleted"},
		"etcd with an unknown Op":      {LayoutEtcd, `{"Op":7,"Addr":"a:1"}`, nil, "expected Op 0 (add), found 7"},
		"etcd without an address":      {LayoutEtcd, `{"Op":0,"Metadata":{}}`, nil, "expected an Addr, found none"},
		"etcd with a bad address":      {LayoutEtcd, `{"Op":0,"Addr":"a"}`, nil, "expected host:port"},
		"etcd on a socket":             {LayoutEtcd, `{"Op":0,"Addr":"unix/@x"}`, nil, "which only a config may name"},
		"etcd with text":               {LayoutEtcd, `a:1`, nil, "expected a JSON object"},
		"etcd with null":               {LayoutEtcd, `null`, nil, "expected a JSON object"},
		"etcd with broken JSON":        {LayoutEtcd, `{"Op":0,`, nil, `expected {"Op":0,"Addr":"host:port"}`},
		"etcd with JSON and more":      {LayoutEtcd, namingValue + "x", nil, "invalid character"},
		"kratos":                       {LayoutKratos, kratosValue, kratos, ""},
		"kratos with TLS":              {LayoutKratos, `{"endpoints":["https://a:1","grpcs://a:2"]}`, one("a:2", 0), ""},
		"kratos prefers grpc":          {LayoutKratos, `{"endpoints":["grpcs://a:2","grpc://a:3"]}`, one("a:3", 0), ""},
		"kratos with IPv6":             {LayoutKratos, `{"endpoints":["grpc://[2001:db8::1]:9000"]}`, one("[2001:db8::1]:9000", 0), ""},
		"kratos of HTTP only":          {LayoutKratos, `{"endpoints":["http://a:1"]}`, nil, `expected a grpc:// endpoint, found "http://a:1"`},
		"kratos of nothing":            {LayoutKratos, `{"endpoints":null}`, nil, "expected a grpc:// endpoint, found none"},
		"kratos without a port":        {LayoutKratos, `{"endpoints":["grpc://a"]}`, nil, "expected host:port"},
		"kratos on all interfaces":     {LayoutKratos, `{"endpoints":["grpc://[::]:9000"]}`, nil, "not an unspecified one"},
		"kratos with a bad weight":     {LayoutKratos, `{"endpoints":["grpc://a:1"],"metadata":{"weight":"-3"}}`, one("a:1", 0, "weight", "-3"), ""},
		"kratos with wrong types":      {LayoutKratos, `{"endpoints":"grpc://a:1"}`, nil, "cannot unmarshal"},
		"kitex":                        {LayoutKitex, kitexValue, kitex, ""},
		"kitex without weight":         {LayoutKitex, `{"network":"tcp","address":"a:1","weight":0,"tags":null}`, one("a:1", 0), ""},
		"kitex with a negative weight": {LayoutKitex, `{"address":"a:1","weight":-5}`, one("a:1", 0), ""},
		"kitex with a huge weight":     {LayoutKitex, `{"address":"a:1","weight":9000000000}`, one("a:1", 1_000_000), ""},
		"kitex on a socket":            {LayoutKitex, `{"network":"unix","address":"/tmp/x.sock"}`, nil, `expected network tcp, found "unix"`},
		"kitex without an address":     {LayoutKitex, `{"network":"tcp"}`, nil, "expected host:port"},
		"micro":                        {LayoutMicro, microValue, micro, ""},
		"micro with the port apart":    {LayoutMicro, `{"nodes":[{"id":"x","address":"10.0.0.1","port":9001}]}`, one("10.0.0.1:9001", 0), ""},
		"micro with two nodes": {
			LayoutMicro, `{"nodes":[{"id":"x","address":"a:1"},{"id":"y","address":"b:1"}]}`,
			[]discovery.Endpoint{{ID: id, Addr: "a:1"}, {ID: id + "#y", Addr: "b:1"}}, "",
		},
		"micro with a node over HTTP": {
			LayoutMicro, `{"nodes":[{"id":"w","address":"w:1","metadata":{"protocol":"http"}},{"id":"x","address":"a:1"},{"id":"y","address":"b:1"}]}`,
			[]discovery.Endpoint{{ID: id, Addr: "a:1"}, {ID: id + "#y", Addr: "b:1"}}, "",
		},
		"micro with one node twice":  {LayoutMicro, `{"nodes":[{"id":"x","address":"a:1"},{"id":"y","address":"b:1"},{"id":"y","address":"c:1"}]}`, nil, "expected nodes with different ids"},
		"micro with a bad node":      {LayoutMicro, `{"nodes":[{"id":"x","address":"a"}]}`, nil, "node 0: expected host:port"},
		"micro over HTTP":            {LayoutMicro, `{"nodes":[{"id":"x","address":"a:1","metadata":{"protocol":"http"}}]}`, nil, `protocol grpc, found "http"`},
		"micro without nodes":        {LayoutMicro, `{"nodes":[]}`, nil, "expected nodes, found none"},
		"auto: an address":           {LayoutAuto, "10.0.0.1:8080", one("10.0.0.1:8080", 0), ""},
		"auto: with weight":          {LayoutAuto, " 10.0.0.1:8080?weight=3 ", one("10.0.0.1:8080", 3), ""},
		"auto: etcd":                 {LayoutAuto, " " + namingValue, naming, ""},
		"auto: kratos":               {LayoutAuto, kratosValue, kratos, ""},
		"auto: kitex":                {LayoutAuto, kitexValue, kitex, ""},
		"auto: micro":                {LayoutAuto, microValue, micro, ""},
		"auto: other JSON":           {LayoutAuto, `{"name":"x","port":1}`, nil, `found members "name, port"`},
		"auto: empty JSON":           {LayoutAuto, `{}`, nil, "found members none"},
		"auto: broken JSON":          {LayoutAuto, `{"Addr"`, nil, "expected host:port or a JSON object"},
		"auto: JSON of another kind": {LayoutAuto, `["a:1"]`, nil, "expected"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.layout.Parse("p/", id, c.value)
			wantErr(t, err, c.err)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestKeysOfOtherServices(t *testing.T) {
	for name, c := range map[string]struct {
		layout     Layout
		key, value string
		err        string
	}{
		"go-zero: a lease":             {LayoutGoZero, "p/7587862094", "a:1", ""},
		"go-zero: a longer key":        {LayoutGoZero, "p/admin/7587862094", "a:1", `"admin/7587862094" is another service's`},
		"kitex: an address":            {LayoutKitex, "p/10.0.0.1:8888", kitexValue, ""},
		"kitex: a longer key":          {LayoutKitex, "p/x/10.0.0.1:8888", kitexValue, "is another service's"},
		"kratos: a longer key":         {LayoutKratos, "p/x/1", kratosValue, "is another service's"},
		"micro: a longer key":          {LayoutMicro, "p/x/1", microValue, "is another service's"},
		"etcd: keys may be structured": {LayoutEtcd, "p/dc1/rack2/1", namingValue, ""},
		"plain: so here":               {LayoutPlain, "p/dc1/1", "a:1", ""},
		"auto: so here":                {LayoutAuto, "p/dc1/1", "a:1", ""},
		"nothing after the slash":      {LayoutAuto, "p/", "a:1", "expected a name after the last slash"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.layout.Parse("p/", c.key, c.value)
			wantErr(t, err, c.err)
		})
	}
}

// FuzzParse holds every layout to what the rest relies on: IDs that begin with the key and differ,
// and addresses that can be dialled. A value that one layout reads, auto reads to the same end,
// where the value alone tells the layout.
func FuzzParse(f *testing.F) {
	for _, v := range []string{
		"10.0.0.1:8080", "a:1?weight=3&x=y", kratosValue, kitexValue, namingValue, microValue, `{}`, `{"Addr":1}`, `{"nodes":[{}]}`, "0.0.0.0:1", "null", "\xff",
		`{"endpoints":["grpc://%zz","grpc://u:p@a:1/x"]}`, `{"Op":0,"Addr":"a:1","Metadata":[1,{"a":"b"}]}`,
	} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for layout := range layouts {
			endpoints, err := layout.Parse("p/", "p/1", value)
			if (err == nil) == (len(endpoints) == 0) {
				t.Fatalf("%s: %d endpoints and error %v", layout, len(endpoints), err)
			}
			seen := map[string]bool{}
			for _, e := range endpoints {
				if seen[e.ID] || !strings.HasPrefix(e.ID, "p/1") {
					t.Errorf("%s: ID %q", layout, e.ID)
				}
				seen[e.ID] = true
				if err := discovery.CheckAddr(e.Addr); err != nil {
					t.Errorf("%s: address %q: %v", layout, e.Addr, err)
				}
				if e.Weight > maxWeight {
					t.Errorf("%s: weight %d", layout, e.Weight)
				}
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	for _, k := range []string{"user.rpc", "/", "a/b/", "", "kitex/registry-etcd/x"} {
		f.Add(k, k+"/1")
	}
	f.Fuzz(func(t *testing.T, key, entry string) {
		for layout := range layouts {
			prefix, err := layout.Prefix(key)
			if err != nil {
				continue
			}
			if len(prefix) < 2 || !strings.HasSuffix(prefix, "/") || strings.Trim(prefix, "/") == "" {
				t.Errorf("%s: key %q has the prefix %q", layout, key, prefix)
			}
			if _, err := layout.Parse(prefix, prefix+entry, "a:1"); err == nil && entry == "" {
				t.Errorf("%s: the prefix itself was taken for an instance", layout)
			}
		}
	})
}
