package module

import (
	"context"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

// WaitForShared waits until everything that no config refers to has ended. It fails if something is
// still referred to.
func WaitForShared(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		HurryDraining()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		err := leaving.wait(ctx)
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("shared values that do not end: %v", err)
		}
	}
	for name, pool := range map[string]*caddy.UsagePool{"feeds": feeds, "channels": channels, "schemas": schemas} {
		pool.Range(func(key, _ any) bool {
			t.Errorf("left over in %s: %s", name, key)
			return true
		})
	}
	if app := running.newest(); app != nil {
		t.Error("an app is still among the running ones")
	}
}

// SharedCount returns how many values are shared at present.
func SharedCount() (n int) {
	for _, pool := range []*caddy.UsagePool{feeds, channels, schemas} {
		pool.Range(func(any, any) bool {
			n++
			return true
		})
	}
	return n
}

// HurryDraining ends the lingering of channels that drain.
func HurryDraining() {
	for _, c := range draining.all() {
		c.cut(10 * time.Second)
	}
}

// Command is `caddy grpc-gateway`.
func Command() *cobra.Command {
	cmd := &cobra.Command{Use: "grpc-gateway"}
	addCommands(cmd)
	return cmd
}

// ResetDigests makes the next line of each digest come at once: there is one a minute at most.
func ResetDigests() {
	for _, d := range []*digest{
		&registriesLost, &registriesBack, &entriesSkipped, &servicesAdded, &servicesRemoved, &unusable, &conflicts,
	} {
		d.mu.Lock()
		pending := d.count > 0
		d.mu.Unlock()
		if pending {
			d.flush()
		}
		d.mu.Lock()
		d.last = time.Time{}
		d.mu.Unlock()
	}
}

// ExitCode is the exit code for the error of a command.
func ExitCode(err error) int { return exitCode(err) }

// SiteOf is where `call --config` finds the gateway in the JSON of a config: its URL, and where to
// connect.
func SiteOf(config []byte) (url, dial string, err error) {
	s, err := siteOf(config)
	if err != nil {
		return "", "", err
	}
	return s.url, s.dial.String(), nil
}
