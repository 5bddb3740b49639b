// Package discovery is the contract between the gateway and whatever knows the instances of a service, with the feed that shares a
// watch among those who want it. It knows no registry: those are in its subdirectories, one each.
package discovery

import (
	"context"
	"time"
)

// Endpoint is one instance of a service, as a registry describes it.
type Endpoint struct {
	// ID identifies the registration, unique within its source: a registry key, or the address where
	// there is no registry. A changed value under the same ID replaces the endpoint.
	ID string
	// Addr is what to dial, host:port. Two registrations may share one address; they are one
	// endpoint until the last of them goes.
	Addr string
	// Weight is the share of calls relative to the other endpoints of the source.
	// 0 means that the registry does not say, which counts as the mean of those that do.
	Weight uint32
	// Registration tells one registration under the ID from the next one with the same value, which restarted instances make; 0
	// where the source cannot tell. It changes with nothing else, so not with heartbeats.
	Registration int64
	// Metadata is what the registry says besides. It is shown to operators and never trusted:
	// TLS server names are not taken from it.
	Metadata map[string]string
}

// Skipped is an entry of the registry that could not be used. It never fails the list it stands in.
type Skipped struct {
	ID     string // key of the entry
	Reason string // what was expected and what was found
}

// State is everything a source knows at one moment. It is immutable once published; publishers and
// subscribers never write to its slices and maps.
type State struct {
	// Synced is true once a complete list was obtained (also an empty one). Before that,
	// Endpoints is empty because nothing is known, not because there is nothing.
	Synced bool
	// Endpoints sorted by ID. After an error they are those of the last good list.
	Endpoints []Endpoint
	Skipped   []Skipped
	// Revision of the registry that the list stands for; 0 where the source has none.
	Revision int64
	// LastContact is when the registry last answered; zero when it never did.
	LastContact time.Time
	// Err is why the list may be out of date: the current trouble with the registry, nil when all is well.
	Err error
	// Stale is true when the list did not come from the registry's present state (a snapshot on
	// disk, or a read that a minority member answered).
	Stale bool
	// Hold is for how long a suspicious mass disappearance from this source is not believed: instances that are connected stay in
	// use meanwhile. 0: every list is believed at once.
	Hold time.Duration
	// Withdrawn are endpoints that somebody has taken out of the registry on purpose, lately. Hold does not
	// apply to them. A source that cannot tell leaves it empty.
	Withdrawn []Endpoint
	// Snapshot is from when the list is if it comes from a snapshot on disk, else zero. It is the gateway's to set, not a source's.
	Snapshot time.Time
}

// Source is the contract for anything that knows the endpoints of a service. The guest modules
// in the namespace http.grpc_gateway.discovery satisfy it; a third party's do so in the same way.
type Source interface {
	// ID is a canonical name for what is watched and how: two sources with equal IDs are
	// interchangeable, so that they share one watch, also across config reloads. It has no secrets in
	// clear text; what distinguishes two credentials goes in as a hash.
	ID() string
	// Watch publishes the state now and on every change, from one goroutine at a time, until
	// ctx is done; then it returns. It never gives up: errors are published in State.Err and retried with
	// backoff. Watch may outlive the config that made the source.
	Watch(ctx context.Context, publish func(State))
}

// Fixed is implemented by sources whose list stands in the config, and is therefore never missing: no snapshot of it is kept on disk.
type Fixed interface {
	Fixed()
}

// Target is a parsed target URL, scheme://authority/path?query.
type Target struct {
	Scheme    string // without "+tls"; for example "etcd", "dns", "dns+srv", "static"
	TLS       bool   // the scheme ended in "+tls"
	Authority string // may be a comma-separated list of host:port
	Path      string // without the leading slash, percent-decoded
	Query     map[string][]string
}

// TargetUnmarshaler is implemented by sources that can be configured by a target URL. The scheme of the
// URL up to its first "+" names the guest module.
type TargetUnmarshaler interface {
	UnmarshalTarget(t Target) error
}
