package module

import (
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/snapshot"
)

// kept returns the source together with its snapshot on disk. A fixed list needs none.
func (f *sharedFeed) kept() discovery.Source {
	if _, ok := f.source.(discovery.Fixed); ok || f.whole != nil {
		return f.source // A catalog keeps the list of all its services.
	}
	return snapshot.New(f.source, snapshotDir(), f.snapshot.Load, lastingLog())
}

// snapshotDir is the directory of snapshots. All processes with this data directory share it.
func snapshotDir() string { return filepath.Join(caddy.AppDataDir(), appName, "snapshots") }

// applySnapshots makes feeds keep their lists on disk if an upstream of the app wants that. The
// setting is not part of a feed's key, so a change of it changes no connection. It stays as it is
// while a feed without upstreams ends.
func (a *App) applySnapshots() {
	wanted := make(map[*sharedFeed]bool)
	for _, u := range a.all() {
		wanted[u.feed] = wanted[u.feed] || u.snapshot
	}
	for _, c := range a.catalogs {
		wanted[c.feed] = wanted[c.feed] || c.snapshot
	}
	for f, yes := range wanted {
		f.snapshot.Store(yes)
	}
}

// logSnapshot logs when the list on disk comes into use, and when the registry's own takes its
// place.
func (f *sharedFeed) logSnapshot(before, now discovery.State) {
	used, was := !now.Snapshot.IsZero(), !before.Snapshot.IsZero()
	switch {
	case used && !was:
		fields := []zap.Field{zap.Int("instances", len(now.Endpoints)), zap.Time("saved", now.Snapshot)}
		if now.Err != nil {
			fields = append(fields, zap.String("error", discovery.Printable(now.Err.Error())))
		}
		snapshotsUsed.add(f.key, fields...)
	case was && !used:
		snapshotsLeft.add(f.key, zap.Int("instances", len(now.Endpoints)))
	}
}
