package routes

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
