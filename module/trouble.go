package module

import (
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
)

// noteTrouble counts and logs that the registry was lost or is there again, and which of its
// entries cannot be used any more. It does not log for sources that do so themselves.
func (f *sharedFeed) noteTrouble(before, now discovery.State) {
	quiet := logsTrouble(f.source)
	switch {
	case now.Err != nil && before.Err == nil:
		f.losses.Add(1)
		// Until the registry has answered for the first time, the log says that it has not.
		if now.Synced && !quiet && !f.lost {
			f.lost = true
			registriesLost.add(f.key, zap.String("error", discovery.Printable(now.Err.Error())), zap.Int("instances", len(now.Endpoints)))
		}
	case now.Err == nil && before.Err != nil:
		f.restores.Add(1)
		if f.lost {
			f.lost = false
			registriesBack.add(f.key, zap.Int("instances", len(now.Endpoints)))
		}
	}
	if fresh := newlySkipped(before.Skipped, now.Skipped); len(fresh) > 0 && !quiet {
		entriesSkipped.add(f.key, zap.Int("entries", len(fresh)),
			zap.String("entry", discovery.Printable(fresh[0].ID)), zap.String("reason", discovery.Printable(fresh[0].Reason)))
	}
}

// logsTrouble reports whether a source logs its trouble itself.
func logsTrouble(source discovery.Source) bool {
	if r, ok := source.(registry); ok {
		source = r.Catalog
	}
	_, ok := source.(discovery.LogsTrouble)
	return ok
}

// newlySkipped returns the entries that only the second list has.
func newlySkipped(before, now []discovery.Skipped) (fresh []discovery.Skipped) {
	if len(now) == 0 || len(before) == len(now) && &before[0] == &now[0] {
		return nil
	}
	known := make(map[discovery.Skipped]bool, len(before))
	for _, s := range before {
		known[s] = true
	}
	for _, s := range now {
		if !known[s] {
			fresh = append(fresh, s)
		}
	}
	return fresh
}
