package module

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// id is a fmt.Stringer with the text that it was made of.
func id(text string) *url.URL { return &url.URL{Path: text} }

func TestGatewayIdentity(t *testing.T) {
	broken := errors.New("read-only file system")
	for name, tt := range map[string]struct {
		host     string
		hostErr  error
		instance string
		idErr    error
		want     string
	}{
		"both":                          {"gw1", nil, "uuid", nil, "gw1/uuid"},
		"the ID cannot be kept":         {"gw1", nil, "random", broken, "gw1/"},
		"the machine has no name":       {"", broken, "uuid", nil, "/uuid"},
		"nothing to tell them apart by": {"", broken, "random", broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := gatewayIdentity(
				func() (string, error) { return tt.host, tt.hostErr },
				func() (*url.URL, error) { return id(tt.instance), tt.idErr },
			)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSubsetKey(t *testing.T) {
	t.Setenv("TEST_POD", "pod-7")
	for name, tt := range map[string]struct {
		upstream Upstream
		want     string // of the key
		err      string
	}{
		"off":              {Upstream{}, "", ""},
		"a key":            {Upstream{Subset: 20, SubsetKey: "gw-7"}, "gw-7", ""},
		"a placeholder":    {Upstream{Subset: 20, SubsetKey: "{env.TEST_POD}"}, "pod-7", ""},
		"no such variable": {Upstream{Subset: 20, SubsetKey: "{env.TEST_NO_SUCH_POD}"}, "", "subset_key: "},
	} {
		t.Run(name, func(t *testing.T) {
			var s pool.Settings
			err := tt.upstream.applySubset(&s)
			switch {
			case tt.err == "" && err != nil, tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Fatalf("error is %v, want %q", err, tt.err)
			case tt.err == "" && (s.Subset != tt.upstream.Subset || s.SubsetKey != tt.want):
				t.Errorf("got %d, %q; want %d, %q", s.Subset, s.SubsetKey, tt.upstream.Subset, tt.want)
			}
		})
	}
}

func TestSubsetIsValidated(t *testing.T) {
	for want, u := range map[string]Upstream{
		"subset -1: expected a number above 0": {Subset: -1},
		"subset_key is for subset":             {SubsetKey: "gw-7"},
	} {
		u.DiscoverRaw = []byte(`{"source":"static"}`)
		if err := u.Validate(); err == nil || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}
