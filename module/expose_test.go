package module

import "testing"

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
		"grpc's own, by name":      {[]string{"grpc.health.v1.Health"}, nil, "grpc.health.v1.Health/Check", false},
		"hidden service":           {nil, []string{"user.v1.Users"}, "user.v1.Users/Get", false},
		"hidden method":            {[]string{"user.*"}, []string{"*/Delete*"}, "user.v1.Users/DeleteAll", false},
		"hidden, but not this one": {nil, []string{"user.v1.Users/Delete"}, "user.v1.Users/Get", true},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := newExposure(tt.expose, tt.hide)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.allows(tt.method); got != tt.want {
				t.Errorf("allows(%q) = %v", tt.method, got)
			}
		})
	}
}

func TestGlobMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "anything", true},
		{"a*", "a", true},
		{"a*c", "abc", true},
		{"a*c", "abcd", false},
		{"a*b*c", "a-b-b-c", true},
		{"*b", "ab-b", true},
		{"**", "x", true},
		{"a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	} {
		if got := globMatch(tt.pattern, tt.name); got != tt.want {
			t.Errorf("globMatch(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}

func FuzzGlobMatch(f *testing.F) {
	f.Add("a*c", "abc")
	f.Add("*", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 64 || len(name) > 64 {
			return
		}
		if got, want := globMatch(pattern, name), slowMatch(pattern, name); got != want {
			t.Errorf("globMatch(%q, %q) = %v", pattern, name, got)
		}
	})
}

// slowMatch says what a pattern means, by a table of which prefixes match.
func slowMatch(pattern, name string) bool {
	row := make([]bool, len(name)+1)
	row[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(name)+1)
		for n := range next {
			if pattern[i] == '*' {
				next[n] = row[n] || n > 0 && next[n-1]
			} else {
				next[n] = n > 0 && row[n-1] && name[n-1] == pattern[i]
			}
		}
		row = next
	}
	return row[len(name)]
}
