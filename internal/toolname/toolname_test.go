package toolname

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// vendors are the rules that vendors of models publish for the names of functions and tools.
var vendors = map[string]*regexp.Regexp{
	"Anthropic": regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`),
	"OpenAI":    regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`),
	"Google":    regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$`),
}

func TestValid(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "Z9_-": true, strings.Repeat("a", 64): true,
		"": false, "9a": false, "_a": false, "-a": false, "a.b": false, "a b": false, "ä": false, "a\n": false, strings.Repeat("a", 65): false,
	} {
		if got := Valid(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
		if want {
			for vendor, rule := range vendors {
				if !rule.MatchString(name) {
					t.Errorf("%s refuses %q", vendor, name)
				}
			}
		}
	}
}

func TestAssign(t *testing.T) {
	long := strings.Repeat("Long", 20)
	for _, tt := range []struct {
		name     string
		methods  []Method
		reserved []string
		want     map[string]string
	}{
		{"service and method", []Method{{Name: "user.v1.UserService/Get"}}, nil,
			map[string]string{"user.v1.UserService/Get": "UserService_Get"}},
		{"no package", []Method{{Name: "Users/Get"}}, nil, map[string]string{"Users/Get": "Users_Get"}},
		{"the author's name", []Method{{Name: "a.S/M", Wanted: "do-it"}}, nil, map[string]string{"a.S/M": "do-it"}},
		{"an author's name that agents refuse", []Method{{Name: "a.S/M", Wanted: "1st"}}, nil, map[string]string{"a.S/M": "S_M"}},
		{"one author's name for two", []Method{{Name: "a.S/M", Wanted: "x"}, {Name: "b.T/N", Wanted: "x"}}, nil,
			map[string]string{"a.S/M": "x", "b.T/N": "T_N"}},
		{"two packages", []Method{{Name: "a.v1.S/M"}, {Name: "a.v2.S/M"}, {Name: "a.v2.S/N"}}, nil,
			map[string]string{"a.v1.S/M": "a_v1_S_M", "a.v2.S/M": "a_v2_S_M", "a.v2.S/N": "S_N"}},
		{"the config's name", []Method{{Name: "a.S/M"}}, []string{"S_M"}, map[string]string{"a.S/M": "a_S_M"}},
		{"no letter first", []Method{{Name: "a._S/M"}, {Name: "a.__/_1"}}, nil,
			map[string]string{"a._S/M": "rpc_S_M", "a.__/_1": "rpc_1"}},
		{"all names taken", []Method{{Name: "a.S/M"}}, []string{"S_M", "a_S_M"},
			map[string]string{"a.S/M": "mf9ac78b6_a_S_M"}},
		{"too long", []Method{{Name: "a.S/" + long}}, nil,
			map[string]string{"a.S/" + long: "m" + hashOf("a.S/"+long) + "_" + long[len(long)-54:]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reserved := make(map[string]bool)
			for _, name := range tt.reserved {
				reserved[name] = true
			}
			got := new(Registry).Assign(tt.methods, reserved)
			for method, want := range tt.want {
				if tt.name == "all names taken" {
					want = "m" + hashOf(method) + "_a_S_M"
				}
				if got[method] != want {
					t.Errorf("%s is called %q, want %q", method, got[method], want)
				}
				for vendor, rule := range vendors {
					if !rule.MatchString(got[method]) {
						t.Errorf("%s refuses %q", vendor, got[method])
					}
				}
			}
		})
	}
}

func hashOf(method string) string {
	r := new(Registry)
	name := r.Assign([]Method{{Name: method}}, map[string]bool{short(method): true, strings.NewReplacer(".", "_", "/", "_").Replace(method): true})[method]
	return name[1:9]
}

// TestNamesStay keeps the names of methods while others come and go.
func TestNamesStay(t *testing.T) {
	r := new(Registry)
	one, two := Method{Name: "a.S/M"}, Method{Name: "b.S/M"}
	if got := r.Assign([]Method{one}, nil); got[one.Name] != "S_M" {
		t.Fatal(got)
	}
	if got := r.Assign([]Method{two, one}, nil); got[one.Name] != "S_M" || got[two.Name] != "b_S_M" {
		t.Error(got)
	}
	if got := r.Assign([]Method{two}, nil); got[two.Name] != "b_S_M" {
		t.Error(got)
	}
	if got := r.Assign([]Method{one}, nil); got[one.Name] != "S_M" {
		t.Error(got)
	}
	if got := r.Assign([]Method{one, two}, map[string]bool{"S_M": true}); got[one.Name] != "a_S_M" || got[two.Name] != "b_S_M" {
		t.Error(got)
	}
}

// TestNamesAreForgotten bounds what is kept for methods that have gone.
func TestNamesAreForgotten(t *testing.T) {
	r := new(Registry)
	for i := range 3 * maxKept / 100 {
		methods := make([]Method, 100)
		for j := range methods {
			methods[j].Name = fmt.Sprintf("a.S%d/M%d", i, j)
		}
		names := make(map[string]bool)
		for _, name := range r.Assign(methods, nil) {
			names[name] = true
		}
		if len(names) != len(methods) {
			t.Fatalf("%d names for %d methods", len(names), len(methods))
		}
	}
	if len(r.names) > maxKept+200 || len(r.owners) != len(r.names) {
		t.Errorf("%d methods and %d names are kept", len(r.names), len(r.owners))
	}
}
