package module

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// What is out of the ordinary has a line of its own, and only then.
func TestPrintUpstreams(t *testing.T) {
	for name, tt := range map[string]struct {
		snapshot pool.Snapshot
		want     string
	}{
		"held":      {pool.Snapshot{Held: 3}, "  ! instances held although the registry does not have them any more: 3\n"},
		"subset":    {pool.Snapshot{Subset: &pool.SubsetSnapshot{Known: 1000, InUse: 20}}, "  subset: 20 of 1000 instances are used\n"},
		"unhealthy": {pool.Snapshot{Endpoints: []pool.EndpointSnapshot{{State: "unhealthy", Health: "NOT_SERVING"}}}, "health check: NOT_SERVING"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, plain bytes.Buffer
			views := []UpstreamView{{Name: "user", Snapshot: tt.snapshot}}
			if err := printUpstreams(&out, views, time.Now()); err != nil || !strings.Contains(out.String(), tt.want) {
				t.Errorf("%v: no %q in:\n%s", err, tt.want, out.String())
			}
			views[0].Snapshot = pool.Snapshot{}
			if err := printUpstreams(&plain, views, time.Now()); err != nil || strings.Contains(plain.String(), tt.want) {
				t.Errorf("%v: %q in:\n%s", err, tt.want, plain.String())
			}
		})
	}
}
