package routes

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestNamesThatNeverLeave tries the spellings by which a server might find a hidden method.
func TestNamesThatNeverLeave(t *testing.T) {
	cfg := &Config{RPC: true, Exposure: newExposure(t, "", "shop.v1.Admin shop.v1.Orders/Delete* late.*")}
	table := mustCompile(t, cfg, newMember(t, "shop", "shop.v1.Orders/Get", "shop.v1.Orders/DeleteAll", "shop.v1.Admin/Reset"))
	for name, path := range map[string]string{
		"by its name":                   "/shop.v1.Orders/DeleteAll",
		"hidden service":                "/shop.v1.Admin/Reset",
		"hidden, in no schema":          "/shop.v1.Orders/DeleteSome",
		"hidden service, in no schema":  "/late.Service/Method",
		"method in another case":        "/shop.v1.Orders/deleteAll",
		"service in another case":       "/shop.v1.admin/Reset",
		"package in another case":       "/SHOP.v1.Admin/Reset",
		"in no schema, in another case": "/shop.v1.orders/DELETESOME",
		"exposed one, in another case":  "/shop.v1.Orders/get",
		"grpc's own":                    "/grpc.health.v1.Health/Check",
		"grpc's own, in another case":   "/grpc.Health.V1.health/check",
		"percent sign":                  "/shop.v1.Admin/Rese%74",
		"percent sign in the service":   "/shop.v1.Admi%6e/Reset",
		"percent sign for the slash":    "/shop.v1.Admin%2FReset",
		"query":                         "/shop.v1.Admin/Reset?x",
		"fragment":                      "/shop.v1.Admin/Reset#x",
		"parameters":                    "/shop.v1.Admin/Reset;x=1",
		"slash at the end":              "/shop.v1.Admin/Reset/",
		"slash at the start":            "//shop.v1.Admin/Reset",
		"slash in the middle":           "/shop.v1.Admin//Reset",
		"no slash at the start":         "shop.v1.Admin/Reset",
		"dot segment":                   "/./shop.v1.Admin/Reset",
		"prefix":                        "/api/shop.v1.Admin/Reset",
		"backslash":                     `/shop.v1.Admin\Reset`,
		"dot at the start":              "/.shop.v1.Admin/Reset",
		"dot at the end":                "/shop.v1.Admin./Reset",
		"two dots":                      "/shop..v1.Admin/Reset",
		"dot in the method":             "/shop.v1.Admin/.Reset",
		"space":                         "/shop.v1.Admin/Reset ",
		"tab":                           "/shop.v1.Admin/\tReset",
		"NUL":                           "/shop.v1.Admin/Reset\x00",
		"NUL elsewhere":                 "/x\x00.S/M",
		"line break":                    "/shop.v1.Admin/Reset\r\nx: y",
		"DEL":                           "/shop.v1.Admin/Reset\x7f",
		"not UTF-8":                     "/shop.v1.Admin/Reset\xff",
		"letter that looks the same":    "/shop.v1.Аdmin/Reset",
		"letter that folds to a k":      "/shop.v1.\u212Aind/Reset",
		"combining mark":                "/shop.v1.Admin/Reset\u0301",
		"zero width":                    "/shop.v1.Admin/\u200bReset",
		"hyphen":                        "/shop.v1.Admin/Re-set",
		"colon":                         "/shop.v1.Admin:Reset/x",
		"digit at the start":            "/shop.v1.Admin/1Reset",
		"absolute URL":                  "http://shop.v1.Admin/Reset",
		"star":                          "*",
		"empty":                         "",
		"root":                          "/",
		"service only":                  "/shop.v1.Admin/",
		"method only":                   "//Reset",
	} {
		t.Run(name, func(t *testing.T) {
			if m := table.Fallback(path); m != nil {
				t.Errorf("%q goes to %s", path, m.Path)
			}
		})
	}
}

func TestMethodsInNoSchema(t *testing.T) {
	a := newMember(t, "a", "a.A/Old", "a.A/Hidden")
	b := newMember(t, "b", "b.B/Old")
	for name, tt := range map[string]struct {
		members []Member
		path    string
		want    string // the upstream; "" is nowhere
	}{
		"new method of a service":                 {[]Member{a, b}, "/b.B/New", "b"},
		"new service":                             {[]Member{a, b}, "/c.C/M", ""},
		"new service at the only upstream":        {[]Member{a}, "/c.C/M", "a"},
		"new service without a package":           {[]Member{a}, "/C/M", "a"},
		"service of the one whose schema is not":  {[]Member{a, pendingMember("p")}, "/c.C/M", "p"},
		"service of two whose schemas are not":    {[]Member{a, pendingMember("p"), pendingMember("q")}, "/c.C/M", ""},
		"new method while another is not known":   {[]Member{a, pendingMember("p")}, "/a.A/New", "a"},
		"hidden method":                           {[]Member{a}, "/a.A/Hidden", ""},
		"service that begins like one of grpc's":  {[]Member{a}, "/grpc.gateway.v1.Users/Get", "a"},
		"service of a package named after grpc's": {[]Member{a}, "/grpc.health.company.Probe/Get", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			table := mustCompile(t, &Config{RPC: true, Exposure: newExposure(t, "", "*/Hidden")}, tt.members...)
			got := ""
			if m := table.Fallback(tt.path); m != nil {
				got = m.Upstream
				if m.Path != tt.path || "/"+m.Name != tt.path || m.Conn != (conn{got}) {
					t.Errorf("%+v", m)
				}
			}
			if got != tt.want {
				t.Errorf("%s goes to %q, want %q", tt.path, got, tt.want)
			}
		})
	}
}

func TestNoFallbackWithoutRPC(t *testing.T) {
	if mustCompile(t, &Config{}, newMember(t, "a", "a.A/M")).Fallback != nil {
		t.Error("methods can be called by their path although rpc is off")
	}
}

func FuzzFallback(f *testing.F) {
	for _, seed := range []string{"/shop.v1.Orders/New", "/x%00.S/M", "/a/b?c", "//a/b", "/shop.v1.admin/RESET", "/grpc.health.v1.Health/Check"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		cfg := &Config{RPC: true, Exposure: newExposure(t, "", "shop.v1.Admin")}
		table := mustCompile(t, cfg, pendingMember("shop"))
		m := table.Fallback(path)
		if m == nil {
			return
		}
		service, method, ok := splitPath(m.Path)
		if m.Path != path || !ok || !protoreflect.FullName(service).IsValid() || !protoreflect.Name(method).IsValid() {
			t.Errorf("%q leaves as %q", path, m.Path)
		}
	})
}
