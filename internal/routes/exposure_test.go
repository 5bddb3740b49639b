package routes

import (
	"strings"
	"testing"
)

func TestExposureAllows(t *testing.T) {
	for name, tt := range map[string]struct {
		expose, hide []string
		method       string
		want         bool
	}{
		"by default":               {nil, nil, "user.v1.Users/Get", true},
		"grpc's own":               {nil, nil, "grpc.health.v1.Health/Check", false},
		"grpcish, but not grpc's":  {nil, nil, "grpcx.v1.Users/Get", true},
		"service":                  {[]string{"user.v1.Users"}, nil, "user.v1.Users/Get", true},
		"other service":            {[]string{"user.v1.Users"}, nil, "user.v1.UsersAdmin/Get", false},
		"package":                  {[]string{"user.v1.*"}, nil, "user.v1.Users/Get", true},
		"package and below":        {[]string{"user.*"}, nil, "user.v1.Users/Get", true},
		"not a prefix":             {[]string{"user"}, nil, "user.v1.Users/Get", false},
		"method":                   {[]string{"user.v1.Users/Get"}, nil, "user.v1.Users/Get", true},
		"other method":             {[]string{"user.v1.Users/Get"}, nil, "user.v1.Users/GetAll", false},
		"methods":                  {[]string{"*/Get*"}, nil, "user.v1.Users/GetAll", true},
		"second pattern":           {[]string{"a.B", "user.v1.Users"}, nil, "user.v1.Users/Get", true},
		"everything, grpc's own":   {[]string{"*"}, nil, "grpc.health.v1.Health/Check", false},
		"grpc's own reflection":    {nil, nil, "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", false},
		"grpc's own channelz":      {[]string{"grpc.*"}, nil, "grpc.channelz.v1.Channelz/GetServers", false},
		"grpc's own binary log":    {nil, nil, "grpc.binarylog.v1.BinaryLog/Log", false},
		"grpc's own, later":        {nil, nil, "grpc.reflection.v2.ServerReflection/Ask", false},
		"of grpc's package":        {nil, nil, "grpc.gateway.v1.Users/Get", true},
		"below grpc's package":     {nil, nil, "grpc.health.v1.company.Users/Get", true},
		"beside grpc's package":    {nil, nil, "grpc.health.company.Users/Get", true},
		"package like grpc's":      {nil, nil, "grpc.healthy.v1.Users/Get", true},
		"of grpc's, by pattern":    {[]string{"grpc.*"}, nil, "grpc.gateway.v1.Users/Get", true},
		"of grpc's, hidden":        {nil, []string{"grpc.*"}, "grpc.gateway.v1.Users/Get", false},
		"hidden service":           {nil, []string{"user.v1.Users"}, "user.v1.Users/Get", false},
		"hidden method":            {[]string{"user.*"}, []string{"*/Delete*"}, "user.v1.Users/DeleteAll", false},
		"hidden, but not this one": {nil, []string{"user.v1.Users/Delete"}, "user.v1.Users/Get", true},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := NewExposure(tt.expose, tt.hide)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Allows(tt.method); got != tt.want {
				t.Errorf("Allows(%q) = %v", tt.method, got)
			}
		})
	}
}

func TestPatternsThatAreRefused(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"a.B": true, "a.B/C": true, "a.*": true, "*/Get*": true, "*": true, "B": true,
		"": false, "/a.B/C": false, "a.B/C/D": false, "a.B%2FC": false, "a.B C": false, "a.?": false, "ä.B": false,
	} {
		if err := CheckPattern(pattern); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	for _, pattern := range []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"} {
		if _, err := NewExposure([]string{pattern}, nil); err == nil || !strings.Contains(err.Error(), "cannot be exposed") {
			t.Errorf("expose %s: %v", pattern, err)
		}
		if _, err := NewExposure(nil, []string{pattern}); err != nil {
			t.Errorf("hide %s: %v", pattern, err)
		}
	}
}

// TestPatternsThatMatchNothing also checks that nothing is reported too early, or about a pattern
// that has a meaning.
func TestPatternsThatMatchNothing(t *testing.T) {
	a, b := newMember(t, "a", "a.A/Get", "a.A/Set"), newMember(t, "b", "b.B/Get")
	learned := a
	learned.FromFiles = false
	for name, tt := range map[string]struct {
		expose, hide string
		members      []Member
		want         string // the patterns, in order
		refused      bool
	}{
		"all match":                      {"a.* b.B", "a.A/Set", []Member{a, b}, "", false},
		"service is mistyped":            {"", "a.AA", []Member{a, b}, `hide "a.AA"`, true},
		"method is mistyped":             {"", "a.A/get", []Member{a}, `hide "a.A/get"`, true},
		"exposed package is not there":   {"a.* c.*", "", []Member{a, b}, `expose "c.*"`, true},
		"several":                        {"c.*", "x y", []Member{a}, `expose "c.*" hide "x" hide "y"`, true},
		"hidden, but not exposed anyway": {"b.B", "a.A/Set", []Member{a, b}, "", false},
		"in the second upstream":         {"", "b.B/*", []Member{a, b}, "", false},
		"one schema is not known":        {"", "c.*", []Member{a, pendingMember("p")}, "", false},
		"schema from a running service":  {"", "c.*", []Member{learned}, `hide "c.*"`, false},
		"grpc's own":                     {"", "grpc.* grpc.health.v1.Health */ServerReflectionInfo", []Member{a}, "", false},
		"exposing what grpc has":         {"a.* grpc.*", "", []Member{a}, `expose "grpc.*"`, true},
		"no upstream":                    {"", "c.*", nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			table := mustCompile(t, &Config{RPC: true, Exposure: newExposure(t, tt.expose, tt.hide)}, tt.members...)
			var got []string
			for _, p := range table.Problems {
				option, rest, _ := strings.Cut(p.Reason, ": pattern ")
				pattern, _, _ := strings.Cut(rest, " matches no method")
				got = append(got, option+" "+pattern)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("problems: %v, want %s", table.Problems, tt.want)
			}
			if err := table.Check(); (err != nil) != tt.refused {
				t.Errorf("Check: %v", err)
			}
		})
	}
}
