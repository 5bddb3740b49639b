package module

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestChooseByName checks what the arguments of `upstreams`, `catalog` and `routes` leave.
func TestChooseByName(t *testing.T) {
	var many []UpstreamView
	for i := range 30 {
		many = append(many, UpstreamView{Name: fmt.Sprintf("s%02d", i)})
	}
	upstreams := []UpstreamView{{Name: "user", Key: "a"}, {Name: "order"}, {Name: "user", Key: "drains"}}
	catalogs := []CatalogView{
		{Name: "fleet", Services: []ServiceView{{Name: "user.rpc"}, {Name: "order.rpc"}}},
		{Name: "others", Services: []ServiceView{{Name: "user.rpc"}, {Name: "stock.rpc"}}},
	}
	handlers := []HandlerView{
		{
			Upstreams: []string{"user"},
			Routes:    []RouteView{{RPC: "shop.User/Get"}, {RPC: "shop.User/List"}, {RPC: "shop.Stock/Get"}},
			Problems:  []Problem{{RPC: "shop.User/Get", Reason: "p"}, {Reason: "of no method"}},
		},
		{Upstreams: []string{"order"}, Routes: []RouteView{{RPC: "shop.Order/Get"}}, Problems: []Problem{{RPC: "shop.Order/Gone", Reason: "q"}}},
	}
	late := []HandlerView{{PendingUpstreams: []PendingView{{Upstream: "slow"}}}}

	ofUpstreams := func(all []UpstreamView) func([]string) (string, error) {
		return func(names []string) (string, error) {
			chosen, err := chooseUpstreams(all, names)
			out := make([]string, len(chosen))
			for i, u := range chosen {
				out[i] = u.Name + u.Key
			}
			return strings.Join(out, " "), err
		}
	}
	ofCatalogs := func(names []string) (string, error) {
		chosen, err := chooseCatalogs(catalogs, names)
		var out []string
		for _, c := range chosen {
			for _, s := range c.Services {
				out = append(out, c.Name+":"+s.Name)
			}
		}
		return strings.Join(out, " "), err
	}
	ofRoutes := func(all []HandlerView) func([]string) (string, error) {
		return func(names []string) (string, error) {
			chosen, err := chooseRoutes(all, slices.Clone(names))
			var out []string
			for _, h := range chosen {
				for _, r := range h.Routes {
					out = append(out, r.RPC)
				}
				for _, p := range h.Problems {
					out = append(out, "!"+p.RPC)
				}
			}
			return strings.Join(out, " "), err
		}
	}
	for name, tt := range map[string]struct {
		choose func([]string) (string, error)
		names  []string
		want   string
		fail   string
		code   int
	}{
		"upstream":               {ofUpstreams(upstreams), []string{"user"}, "usera userdrains", "", 0},
		"upstreams":              {ofUpstreams(upstreams), []string{"order", "user"}, "usera order userdrains", "", 0},
		"no such upstream":       {ofUpstreams(upstreams), []string{"user", "usr"}, "", `there is no upstream "usr": expected one of order, user`, exitNoSuchName},
		"no upstream at all":     {ofUpstreams(nil), []string{"user"}, "", "none at all", exitNoSuchName},
		"a long list":            {ofUpstreams(many), []string{"x"}, "", "s18, s19, and 10 more", exitNoSuchName},
		"catalog":                {ofCatalogs, []string{"fleet"}, "fleet:user.rpc fleet:order.rpc", "", 0},
		"service":                {ofCatalogs, []string{"user.rpc"}, "fleet:user.rpc others:user.rpc", "", 0},
		"catalog and service":    {ofCatalogs, []string{"fleet", "stock.rpc"}, "fleet:user.rpc fleet:order.rpc others:stock.rpc", "", 0},
		"no such service":        {ofCatalogs, []string{"usr"}, "", `there is no catalog or service "usr": expected one of fleet, order.rpc, others`, exitNoSuchName},
		"routes of a service":    {ofRoutes(handlers), []string{"shop.User"}, "shop.User/Get shop.User/List !shop.User/Get", "", 0},
		"routes of a method":     {ofRoutes(handlers), []string{"/shop.User/List"}, "shop.User/List", "", 0},
		"routes of a pattern":    {ofRoutes(handlers), []string{"*/Get"}, "shop.User/Get shop.Stock/Get !shop.User/Get shop.Order/Get", "", 0},
		"a method with problems": {ofRoutes(handlers), []string{"shop.Order/Gone"}, "!shop.Order/Gone", "", 0},
		"no such method":         {ofRoutes(handlers), []string{"shop.User/Put"}, "", `there is no method "shop.User/Put": expected one of shop.Order/Get, `, exitNoSuchName},
		"no service matches":     {ofRoutes(handlers), []string{"shop.User", "shop.X*"}, "", `there is no service "shop.X*": expected one of shop.Order, shop.Stock, shop.User`, exitNoSuchName},
		"not known yet":          {ofRoutes(late), []string{"shop.User"}, "", "the methods of slow are not known yet", exitNoSuchName},
		"a bad pattern":          {ofRoutes(handlers), []string{"a/b/c"}, "", "expected package.Service or package.Service/Method", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.choose(tt.names)
			if got != tt.want || exitCode(err) != tt.code {
				t.Errorf("%q, exit code %d, want %q, %d", got, exitCode(err), tt.want, tt.code)
			}
			if tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)) {
				t.Errorf("error: %v, want %q", err, tt.fail)
			}
		})
	}
	if len(handlers[0].Routes) != 3 || handlers[0].Routes[0].RPC == "" {
		t.Error("choosing has changed what it chooses from")
	}
}
