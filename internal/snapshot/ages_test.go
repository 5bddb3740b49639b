package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// TestAges publishes lists one after the other, a second apart. A list is written as
// service/id@created. "later" is a list that comes two minutes later.
func TestAges(t *testing.T) {
	for name, tt := range map[string]struct {
		disk  string
		lists []string
		want  []string
	}{
		"a new service": {
			lists: []string{"user/1@7"},
			want:  []string{"user/1@7"},
		},
		"the oldest instance decides": {
			lists: []string{"user/1@7 user/2@3"},
			want:  []string{"user/1@3 user/2@3"},
		},
		"a rolling restart": {
			lists: []string{"user/1@7", "user/1@7 user/2@20", "user/2@20"},
			want:  []string{"user/1@7", "user/1@7 user/2@7", "user/2@7"},
		},
		"gone and back": {
			lists: []string{"user/1@7", "", "user/1@20"},
			want:  []string{"user/1@7", "", "user/1@7"},
		},
		"gone for long and back": {
			lists: []string{"user/1@7", "", "later", "user/1@20"},
			want:  []string{"user/1@7", "", "", "user/1@20"},
		},
		"an older one is believed": {
			lists: []string{"user/1@7", "user/1@7 user/2@3"},
			want:  []string{"user/1@7", "user/1@3 user/2@3"},
		},
		"after a restart of the gateway": {
			disk:  "user/1@7 gone/1@2",
			lists: []string{"user/2@20 gone2/1@30"},
			want:  []string{"user/2@7 gone2/1@30"},
		},
		"a registry that cannot tell": {
			lists: []string{"b/1@0", "a/1@0 b/1@0"},
			want:  []string{"b/1@1000000001", "a/1@2000000002 b/1@1000000001"},
		},
		"not a catalog": {
			lists: []string{"/1@0 /2@5"},
			want:  []string{"/1@0 /2@5"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAges()
			clock := time.Unix(0, 0)
			a.now = func() time.Time { return clock }
			a.recall(endpointsOf(t, tt.disk))
			for i, text := range tt.lists {
				clock = clock.Add(time.Second + 1)
				if text == "later" {
					text, clock = "", clock.Add(2*time.Minute)
				}
				list := endpointsOf(t, text)
				before := slices.Clone(list)
				if got := textOf(a.apply(list)); got != tt.want[i] {
					t.Errorf("list %d: got %s, want %s", i+1, got, tt.want[i])
				}
				if !sameEndpoints(list, before) {
					t.Errorf("list %d was written to", i+1)
				}
			}
		})
	}
}

func endpointsOf(t *testing.T, text string) (list []discovery.Endpoint) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		id, created, _ := strings.Cut(word, "@")
		service, _, _ := strings.Cut(id, "/")
		e := discovery.Endpoint{ID: id, Service: service, Addr: "10.0.0.1:1"}
		if _, err := fmt.Sscan(created, &e.Created); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func textOf(list []discovery.Endpoint) string {
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = fmt.Sprintf("%s@%d", e.ID, e.Created)
	}
	return strings.Join(words, " ")
}
