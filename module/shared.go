package module

import (
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// This file holds the state of the process, as opposed to the state of one config. The metric
// collectors are the exception: they are in metrics.go and metrics_pool.go, beside the code that
// counts.
//
// Configs come and go. A value in one of the pools stays as long as a config refers to it, so a
// reload keeps the connections, watches and schemas that it does not change.
//
// A channel holds a reference on its feed. A schema that is read by reflection holds one on its
// channel. A holder gives back its reference when it has really ended, not when it is told to end:
// a channel that drains still needs news of its instances.
//
// A value does nothing before its start method is called, which happens when a config starts. So
// validating a config touches no network. Constructors are instant and cannot fail, and Destruct
// only begins the end, because Caddy holds its config lock meanwhile. The rest of the end runs in
// leaving.
var (
	feeds    = caddy.NewUsagePool() // *sharedFeed by the ID of its source
	channels = caddy.NewUsagePool() // *sharedChannel by channelKey
	schemas  = caddy.NewUsagePool() // *sharedSchema by schemaKey
	// toolNames keeps the names of tools: *sharedNames by the path and the upstreams of a handler.
	toolNames = caddy.NewUsagePool()

	// leaving runs what outlives its config until it has ended.
	leaving background
	// draining are the channels in leaving that have connections.
	draining channelSet
	// running are the apps of the configs that run.
	running appList
	// bus takes events to the apps that run or are about to.
	bus eventBus

	// configuredListeners are the addresses at which the HTTP servers of the newest config listen,
	// or are about to.
	configuredListeners atomic.Pointer[map[string]bool]

	// schemaGate holds a token for each schema of a catalog that is being read.
	schemaGate = make(chan struct{}, schemasAtOnce)

	// The digests log what happens to a registry, which many services may depend on.
	unanswered = digest{
		message: "the registry has not answered yet; calls fail with 503 until it does",
		write:   (*zap.Logger).Warn,
	}
	snapshotsUsed = digest{
		message: "the registry has no list of instances yet; using the snapshot on disk until it has",
		write:   (*zap.Logger).Warn,
	}
	snapshotsLeft = digest{
		message: "the registry answers; the snapshot is not needed any more",
		write:   (*zap.Logger).Info,
	}

	registriesLost = digest{
		message: "trouble with the registry; the last known instances stay in use",
		write:   (*zap.Logger).Warn,
	}
	registriesBack = digest{
		message: "the registry is back",
		write:   (*zap.Logger).Info,
	}
	entriesSkipped = digest{
		message: "entries of the registry cannot be used",
		write:   (*zap.Logger).Warn,
	}
	servicesAdded = digest{
		message: "services of a catalog were added",
		write:   (*zap.Logger).Info,
	}
	servicesRemoved = digest{
		message: "services of a catalog were removed",
		write:   (*zap.Logger).Info,
	}
	unusable = digest{
		message: "services of a catalog cannot be called; `caddy grpc-gateway catalog` says why",
		write:   (*zap.Logger).Warn,
	}
	conflicts = digest{
		message: "services of a catalog have methods or routes that others keep; `caddy grpc-gateway catalog` says which",
		write:   (*zap.Logger).Warn,
	}

	// exitDrain ends streams when the process exits.
	exitDrain = frontend.NewDrain()
)

// schemasAtOnce is how many schemas of catalogs are read at the same time.
const schemasAtOnce = 8

// acquire takes a reference on the value under the key. If there is no value, create makes it. Give
// the reference back with pool.Delete(key).
func acquire[T caddy.Destructor](pool *caddy.UsagePool, key string, create func() T) (value T, loaded bool) {
	v, loaded, _ := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return create(), nil })
	return v.(T), loaded
}
