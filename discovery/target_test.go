package discovery

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]Target{
		"etcd://127.0.0.1:2379/user.rpc":        {Scheme: "etcd", Authority: "127.0.0.1:2379", Path: "user.rpc"},
		"etcd://h1:2379,h2:2379/user.rpc":       {Scheme: "etcd", Authority: "h1:2379,h2:2379", Path: "user.rpc"},
		"etcd+tls://h1/user.rpc":                {Scheme: "etcd", TLS: true, Authority: "h1", Path: "user.rpc"},
		"ETCD+TLS://h1/User.RPC":                {Scheme: "etcd", TLS: true, Authority: "h1", Path: "User.RPC"},
		"etcd:///user.rpc":                      {Scheme: "etcd", Path: "user.rpc"},
		"etcd://h1//microservices/user":         {Scheme: "etcd", Authority: "h1", Path: "/microservices/user"},
		"etcd://h1/a%2Fb%23":                    {Scheme: "etcd", Authority: "h1", Path: "a/b#"},
		"etcd://h1/a+b":                         {Scheme: "etcd", Authority: "h1", Path: "a+b"},
		"etcd://h1/用户":                          {Scheme: "etcd", Authority: "h1", Path: "用户"},
		"etcd://h1/k?layout=kratos&layout=auto": {Scheme: "etcd", Authority: "h1", Path: "k", Query: map[string][]string{"layout": {"kratos", "auto"}}},
		"etcd://[::1]:2379/user.rpc":            {Scheme: "etcd", Authority: "[::1]:2379", Path: "user.rpc"},
		"etcd://[fe80::1%25eth0]:2379/user.rpc": {Scheme: "etcd", Authority: "[fe80::1%eth0]:2379", Path: "user.rpc"},
		"dns:///user.internal:9001":             {Scheme: "dns", Path: "user.internal:9001"},
		"dns+srv:///_grpc._tcp.user.internal":   {Scheme: "dns+srv", Path: "_grpc._tcp.user.internal"},
		"dns+srv+tls:///_grpc._tcp.u":           {Scheme: "dns+srv", TLS: true, Path: "_grpc._tcp.u"},
		"static:///10.0.0.1:9001,10.0.0.2:9001": {Scheme: "static", Path: "10.0.0.1:9001,10.0.0.2:9001"},
		"10.0.0.1:9001":                         {Scheme: "static", Path: "10.0.0.1:9001"},
		"user.internal:9001":                    {Scheme: "static", Path: "user.internal:9001"},
		"[::1]:9001":                            {Scheme: "static", Path: "[::1]:9001"},
		"unix//run/user.sock":                   {Scheme: "static", Path: "unix//run/user.sock"},
		"unix//run/a b://c.sock":                {Scheme: "static", Path: "unix//run/a b://c.sock"},
		"unix+h2c//run/user.sock":               {Scheme: "static", Path: "unix//run/user.sock"},
		"unix/@user":                            {Scheme: "static", Path: "unix/@user"},
		"unix:///run/user.sock":                 {Scheme: "static", Path: "unix//run/user.sock"},
		"unix:///run/my%20app/user.sock":        {Scheme: "static", Path: "unix//run/my app/user.sock"},
		"unix+tls:///run/user.sock":             {Scheme: "static", TLS: true, Path: "unix//run/user.sock"},
		"static:///unix//run/a,unix//run/b":     {Scheme: "static", Path: "unix//run/a,unix//run/b"},
		"consul://dc1/user?tag=blue":            {Scheme: "consul", Authority: "dc1", Path: "user", Query: map[string][]string{"tag": {"blue"}}},
	} {
		t.Run(s, func(t *testing.T) {
			got, err := ParseTarget(s)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestParseTargetRefuses(t *testing.T) {
	for s, want := range map[string]string{
		"":                         "neither a URL (scheme://host:port/name) nor an address",
		"users":                    "neither a URL",
		"etcd:/h1/user":            "neither a URL",
		"etcd:h1":                  "neither a URL",
		"10.0.0.1:9001,10.0.0.2:1": "neither a URL",
		"10.0.0.1:0":               "port from 1 to 65535",
		"://h1/user":               "expected a scheme",
		"+tls://h1/user":           "expected a scheme",
		"etcd+://h1/user":          "expected a scheme",
		"1etcd://h1/user":          "expected a scheme",
		"et cd://h1/user":          "expected a scheme",
		"etcd://u:p@h1/user":       "expected no user and password",
		"etcd://h1/user#x":         "write # as %23",
		"etcd://h1/us er":          "expected no spaces",
		"etcd://h1/us%20er":        "expected no spaces",
		"etcd://h1/us%00er":        "control characters",
		"etcd://h1/us%zzer":        "invalid URL escape",
		"etcd://h1/us%ffer":        "expected UTF-8",
		"etcd://h%zz/user":         "host list: invalid URL escape",
		"etcd://h1/user?a=%zz":     "query",
		"unix/run/user.sock":       "expected an absolute path",
		"unix://run/user.sock":     "expected three slashes",
		"unix:///run/x?mode=1":     "expected no parameters",
		"unix:///run/x%zz":         "invalid URL escape",
		"unix:///run/x%0a":         "expected printable characters",
	} {
		t.Run(s, func(t *testing.T) {
			_, err := ParseTarget(s)
			wantError(t, err, want)
		})
	}
}

func TestTargetHosts(t *testing.T) {
	for name, c := range map[string]struct {
		authority, port string
		want            []string
		err             string
	}{
		"none":                        {"", "2379", nil, ""},
		"one":                         {"h1:1", "", []string{"h1:1"}, ""},
		"default port":                {"h1,h2:1,[::1]", "2379", []string{"h1:2379", "h2:1", "[::1]:2379"}, ""},
		"no default port":             {"h1", "", nil, "without a port"},
		"empty item":                  {"h1:1,,h2:1", "2379", nil, "found nothing"},
		"trailing comma":              {"h1:1,", "2379", nil, "found nothing"},
		"twice":                       {"h1,h1:2379", "2379", nil, "found \"h1:2379\" again"},
		"IPv6 without brackets":       {"fe80::1", "2379", nil, "in brackets"},
		"IPv6 with a port, unclosed":  {"[::1:2379", "2379", nil, "expected host:port"},
		"unspecified":                 {"0.0.0.0", "2379", nil, "not an unspecified one"},
		"spaces from a list in prose": {"h1, h2", "2379", nil, "expected a host name"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Target{Authority: c.authority}.Hosts(c.port)
			wantError(t, err, c.err)
			if err == nil && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTargetCheckQuery(t *testing.T) {
	target := Target{Scheme: "etcd", Query: map[string][]string{"layout": {"auto"}}}
	wantError(t, target.CheckQuery("layout", "cluster"), "")
	wantError(t, target.CheckQuery("cluster"), `expected parameters among cluster in a etcd target, found "layout"`)
	wantError(t, target.CheckQuery(), `expected no parameters in a etcd target, found "layout"`)
	target.Query["layout"] = []string{"auto", "etcd"}
	wantError(t, target.CheckQuery("layout"), `expected parameter "layout" once`)
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"etcd://h1:2379,h2:2379/user.rpc", "dns+srv:///_grpc._tcp.user.internal", "static:///10.0.0.1:9001", "10.0.0.1:9001",
		"etcd+tls://[::1]:2379//a%2Fb?layout=kratos", "://", "+tls://", "a://%", "a://b?c;d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		if err != nil {
			return
		}
		if target.Scheme == "" || target.Scheme != strings.ToLower(target.Scheme) {
			t.Errorf("%q gave the scheme %q", s, target.Scheme)
		}
		if strings.ContainsAny(target.Path+target.Authority, " \n\r\t\x00") {
			t.Errorf("%q let white space through: %+v", s, target)
		}
		hosts, err := target.Hosts("1")
		if err != nil {
			return
		}
		for _, h := range hosts {
			if err := CheckAddr(h); err != nil {
				t.Errorf("%q gave the host %q: %v", s, h, err)
			}
		}
	})
}
