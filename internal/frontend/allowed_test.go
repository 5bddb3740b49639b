package frontend

import (
	"slices"
	"testing"

	"github.com/caddy-grpc/gateway/internal/httprule"
)

func TestAllowedMethods(t *testing.T) {
	var b httprule.Builder[*Binding]
	for _, method := range []string{"GET", "ARCHIVE"} {
		template, err := httprule.Parse("/v1/boxes/{id}")
		if err != nil {
			t.Fatal(err)
		}
		b.Add(method, template, &Binding{})
	}
	router, _ := b.Build()
	methods := map[string]*Method{"/a.B/C": {}}
	for _, tc := range []struct {
		name  string
		table *Table
		path  string
		want  []string
	}{
		{"no table yet", nil, "/v1/boxes/1", []string{AnyMethod}},
		{"a route", &Table{Router: router}, "/v1/boxes/1", []string{"ARCHIVE", "GET"}},
		{"a route with an escape", &Table{Router: router}, "/v1/boxes/a%2Fb", []string{"ARCHIVE", "GET"}},
		{"a method's name", &Table{Router: router, Methods: methods}, "/a.B/C", []string{"POST"}},
		{"an unknown path", &Table{Router: router}, "/v2", nil},
		{"an unknown path, no routes", &Table{}, "/v2", nil},
		{"an unknown path while a schema is missing", &Table{Router: router, Pending: "wait"}, "/v2", []string{AnyMethod}},
		{"a known path while a schema is missing", &Table{Router: router, Pending: "wait"}, "/v1/boxes/1", []string{"ARCHIVE", "GET"}},
	} {
		if got := tc.table.AllowedMethods(tc.path); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
