package kit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Answers checks that a GET of the path is answered with 200.
func (c *Caddy) Answers(path string) error {
	code, body, err := GetJSON(http.DefaultClient, c.URL(path))
	if err != nil || code != http.StatusOK {
		return fmt.Errorf("status %d, %s, %w", code, body, err)
	}
	return nil
}

// LoadUsers calls GET /v1/users/{id} all the time. The answer must be "user".
func (c *Caddy) LoadUsers() *Load {
	return StartLoad(H2C(), 20, func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, c.URL("/v1/users/"+id), nil)
	}, func(_ string, body []byte) error {
		if string(body) != `"user"` {
			return fmt.Errorf("answer %q", body)
		}
		return nil
	})
}

// Trouble waits until the admin API shows trouble with the registry of each upstream with that
// text, or none if it is "". It returns how long that took.
func (c *Caddy) Trouble(t testing.TB, want string) time.Duration {
	t.Helper()
	return Eventually(t, 2*time.Minute, fmt.Sprintf("trouble with the registry: %q", want), func() error {
		upstreams, err := c.Upstreams()
		if err != nil {
			return err
		}
		if len(upstreams) == 0 {
			return errors.New("no upstreams")
		}
		for _, u := range upstreams {
			if got := u.Registry.Error; (got != "") != (want != "") || !strings.Contains(got, want) {
				return fmt.Errorf("%s: %q", u.Name, got)
			}
		}
		return nil
	})
}
