package module

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/clienttls"
	"github.com/caddy-grpc/gateway/internal/pool"
)

// upstream is the run-time form of an Upstream in one config. It has what belongs to that config,
// and the shared values that it holds. It is immutable except for its label.
type upstream struct {
	name         string
	timeout      time.Duration // of unary calls; 0: not set here, negative: none
	requireReady time.Duration
	// starting ends when the app has started or failed to. It is nil without requireReady.
	starting context.Context
	hashKey  string // with placeholders; "" if the balance is not hash
	snapshot bool   // the instances are kept on disk
	touches  bool   // calls are noted, because the channel may rest without them
	feed     *sharedFeed
	channel  *sharedChannel
	schema   *sharedSchema
	unique   atomic.Pointer[string] // the label; nil before the app starts
}

// label returns the upstream's name for logs, metrics and operators. It is unique in the config
// once the app has started.
func (u *upstream) label() string {
	if s := u.unique.Load(); s != nil {
		return *s
	}
	return u.name
}

func (u *upstream) start() {
	u.feed.start()
	u.channel.start()
	u.schema.start()
}

// labelUpstreams makes the labels unique, because handlers may define different upstreams of the
// same name. Such upstreams get a part of their key, which is the same in the next config.
func labelUpstreams(all []*upstream) {
	first := make(map[string]string)
	clash := make(map[string]bool)
	for _, u := range all {
		identity := u.channel.key + u.schema.key
		if id, ok := first[u.name]; ok && id != identity {
			clash[u.name] = true
		}
		first[u.name] = identity
	}
	for _, u := range all {
		label := u.name
		if clash[u.name] {
			label += "-" + hash(u.channel.key + u.schema.key)[:6]
		}
		u.unique.Store(&label)
	}
}

// openUpstream checks and compiles the config and takes references on the shared values. It passes
// their releases to hold. It reads descriptor and certificate files, but does not use the network.
func openUpstream(ctx caddy.Context, name string, config *Upstream, hold func(release func())) (*upstream, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	mod, err := ctx.LoadModule(config, "DiscoverRaw")
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	source, ok := mod.(discovery.Source)
	if !ok {
		return nil, fmt.Errorf("discover: module %T is not a source of instances", mod)
	}
	settings, tlsID, err := compileSettings(ctx, config)
	if err != nil {
		return nil, err
	}
	u := &upstream{
		name:         cmp.Or(name, source.ID()),
		timeout:      time.Duration(config.Timeout),
		requireReady: time.Duration(config.RequireReady),
		hashKey:      config.HashKey,
		snapshot:     config.Snapshot == nil || *config.Snapshot,
	}
	log := lastingLog().With(zap.String("upstream", u.name))
	u.feed = acquireFeed(source)
	hold(u.feed.release)
	u.channel = acquireChannel(u.name, settings, tlsID, config.Networks.compile(source), u.feed, log)
	hold(u.channel.release)
	if u.schema, err = acquireSchema(ctx, config.Descriptors, u.channel, log); err != nil {
		return nil, err
	}
	hold(u.schema.release)
	return u, nil
}

// compileSettings makes the settings of the channel. tlsID identifies the TLS settings. It does not
// depend on the contents of certificates that are followed.
func compileSettings(ctx caddy.Context, u *Upstream) (_ pool.Settings, tlsID string, err error) {
	s := pool.Settings{
		Connections:    u.Connections,
		MaxConnections: u.MaxConnections,
		Balance:        u.Balance,
		Transport:      u.Transport,
		ConnectTimeout: time.Duration(u.ConnectTimeout),
		MaxReceiveSize: int(u.MaxReceiveSize),
		DrainTimeout:   time.Duration(u.DrainTimeout),
	}
	if k := u.Keepalive; k != nil {
		s.KeepaliveTime, s.KeepaliveTimeout, s.PermitWithoutStream = time.Duration(k.Time), time.Duration(k.Timeout), k.PermitWithoutStream
	}
	if b := u.Backoff; b != nil {
		s.BackoffBase, s.BackoffMax = time.Duration(b.Base), time.Duration(b.Max)
	}
	if h := u.HealthCheck; h != nil {
		s.HealthCheck, s.HealthService = true, h.Service
	}
	u.Retry.apply(&s)
	if err := u.applySubset(&s); err != nil {
		return pool.Settings{}, "", err
	}
	u.Eject.apply(&s)
	if s.Authority, err = resolveAuthority(u.Authority); err != nil {
		return pool.Settings{}, "", fmt.Errorf("authority: %w", err)
	}
	if u.TLS != nil {
		client, err := clienttls.Load(ctx, u.TLS)
		if err != nil {
			return pool.Settings{}, "", fmt.Errorf("tls: %w", err)
		}
		s.TLS, tlsID = client.Credentials(), client.ID()
	}
	return s, tlsID, s.Validate() // It checks the settings together with their defaults.
}

// hash returns a short name for a key.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
