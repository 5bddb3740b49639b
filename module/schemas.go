package module

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

const (
	// defaultRefresh is the default of Descriptors.Refresh.
	defaultRefresh = time.Minute
	// fileLoadTimeout bounds the compilation of .proto files while a config loads.
	fileLoadTimeout = 30 * time.Second
)

// sharedSchema keeps the schema of one service current. All upstreams that read it from the same
// place share it.
type sharedSchema struct {
	key     string
	source  string // kind of Descriptors
	loader  schema.Loader
	refresh time.Duration
	channel *sharedChannel // that reflection uses, with a reference; nil for files
	log     *zap.Logger

	// seed is the schema until the first one is read. For files it is what they had when the config
	// was loaded. For reflection it is what another config knows of the same instances, or nil.
	seed *schema.Schema

	began   time.Time     // when the schema was asked for
	settled chan struct{} // closed when the first attempt to read is over

	mu        sync.Mutex   // guards the fields up to codecs
	live      *schema.Live // nil before start
	closed    bool
	stopReady func()

	codecs sync.Map // codecKey -> *transcode.Compiler, for the newest schema
	checks sync.Map // checksKey -> checks.SchemaChecks, for the newest schema

	notify      sync.Mutex // held while subscribers are called
	isSettled   bool
	subscribers map[*func()]struct{}
}

// schemaKey says where a schema is read from, and how.
func schemaKey(d Descriptors, channelKey string) string {
	if d.Source == DescriptorsReflection {
		d.Files = []string{channelKey}
	}
	key, err := json.Marshal(d)
	if err != nil { // These are strings and numbers.
		panic(err)
	}
	return string(key)
}

// acquireSchema takes a reference on the schema of the descriptors. Files that nobody has read yet
// are read here.
func acquireSchema(ctx context.Context, d *Descriptors, channel *sharedChannel, log *zap.Logger) (*sharedSchema, error) {
	var desc Descriptors
	if d != nil {
		desc = *d
	}
	desc.Source = cmp.Or(desc.Source, DescriptorsReflection)
	if desc.Source == DescriptorsReflection {
		desc.Refresh = cmp.Or(desc.Refresh, caddy.Duration(defaultRefresh))
	}
	s := &sharedSchema{
		key:         schemaKey(desc, channel.key),
		source:      desc.Source,
		refresh:     max(0, time.Duration(desc.Refresh)),
		log:         log,
		began:       time.Now(),
		settled:     make(chan struct{}),
		subscribers: make(map[*func()]struct{}),
	}
	if err := s.prepare(ctx, desc, channel); err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	if s.channel != nil {
		s.channel.hold()
	}
	shared, loaded := acquire(schemas, s.key, func() *sharedSchema { return s })
	if loaded && s.channel != nil {
		s.channel.release()
	}
	return shared, nil
}

// prepare makes the loader and finds the seed.
func (s *sharedSchema) prepare(ctx context.Context, d Descriptors, channel *sharedChannel) (err error) {
	switch d.Source {
	case DescriptorsProtoset:
		s.loader = schema.Protoset(d.Files...)
	case DescriptorsProto:
		s.loader = schema.ProtoFiles(d.Files, d.ImportPaths)
	default:
		s.channel = channel
		s.loader = schema.Reflection(pool.Uncounted(channel), schema.ReflectionOptions{})
		if channel.feed.whole != nil {
			s.loader = gatedLoader{s.loader, channel, schemaGate}
		}
		s.seed = knownSchema(channel.feed)
		return nil
	}
	if _, known := schemas.References(s.key); known {
		// The files are followed already. One that is being rewritten now must not refuse a config.
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fileLoadTimeout)
	defer cancel()
	s.seed, err = s.loader.Load(ctx)
	return err
}

// knownSchema returns what a channel with other settings has learned of the same instances by
// reflection, or nil. So an upstream whose settings change has its routes from the first moment.
func knownSchema(feed *sharedFeed) (known *schema.Schema) {
	schemas.Range(func(_, v any) bool {
		if s := v.(*sharedSchema); s.channel != nil && s.channel.feed == feed {
			known = s.current()
		}
		return known == nil
	})
	return known
}

// waitRead waits until there is a schema, for up to readTime. It returns no error, because a
// missing schema is not a reason to refuse a config.
func (s *sharedSchema) waitRead(ctx context.Context) {
	live := s.follower()
	if live == nil || s.current() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	_ = live.Wait(ctx) // Clients and operators are told why there is no schema.
}

func (s *sharedSchema) release() { _, _ = schemas.Delete(s.key) } // Destruct returns no error.

// fromFiles reports whether the schema does not depend on a running service.
func (s *sharedSchema) fromFiles() bool { return s.channel == nil }

// start begins to read and to follow the schema, unless that has begun.
func (s *sharedSchema) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil || s.closed {
		return
	}
	opts := schema.LiveOptions{Refresh: s.refresh, OnReload: s.reloaded, OnChange: s.changed, Early: s.isOutage, Log: s.log}
	if s.channel != nil && s.channel.feed.whole != nil {
		// A catalog may have many services that are not meant to be called.
		opts.BackoffMax = max(s.refresh, 10*time.Second)
	}
	s.live = schema.NewLive(s.loader, opts)
	if s.channel != nil {
		live := s.live
		s.stopReady = s.channel.onEndpointReady(func(string) { live.Trigger() })
	}
}

// isOutage reports whether a schema cannot be read because no instance of the service takes calls.
// Its registry or its pool logs that. The pool may only be about to notice, so an error of the last
// connection is asked about at once.
func (s *sharedSchema) isOutage(err error) bool {
	if noInstance(err) {
		return true
	}
	if s.channel == nil {
		return false
	}
	snapshot, ok := s.channel.snapshot()
	return ok && !slices.ContainsFunc(snapshot.Endpoints, func(e pool.EndpointSnapshot) bool {
		return e.State == pool.StateReady || e.State == pool.StateHeld
	})
}

// noInstance reports whether an error says that no instance could take the call.
func noInstance(err error) bool {
	var unavailable *pool.UnavailableError
	return errors.As(err, &unavailable)
}

// awaitsInstance reports whether the schema is not known because no instance takes calls.
func (s *sharedSchema) awaitsInstance() bool {
	live := s.follower()
	return live != nil && noInstance(live.Status().Err)
}

func (s *sharedSchema) follower() *schema.Live {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}

// current returns the schema in force, or nil if none is known.
func (s *sharedSchema) current() *schema.Schema {
	live := s.follower()
	if live == nil {
		return s.seed
	}
	current := live.Current()
	// The first schema that is read is mostly the seed again. Then tables need not be compiled
	// again.
	if current == nil {
		return s.seed
	}
	if s.seed != nil && s.seed.Fingerprint() == current.Fingerprint() {
		s.seed.AskLike(current) // The seed may use the channel of another config, which closes.
		return s.seed
	}
	return current
}

// codecKey is what compiled codecs depend on.
type codecKey struct {
	schema  *schema.Schema
	options transcode.Options
}

// compiler returns the codecs of a schema. All handlers share them, and they stay over reloads.
// Those of earlier schemas are dropped.
func (s *sharedSchema) compiler(of *schema.Schema, options transcode.Options) *transcode.Compiler {
	key := codecKey{of, options}
	if c, ok := s.codecs.Load(key); ok {
		return c.(*transcode.Compiler)
	}
	s.codecs.Range(func(k, _ any) bool {
		if k.(codecKey).schema != of {
			s.codecs.Delete(k)
		}
		return true
	})
	c, _ := s.codecs.LoadOrStore(key, transcode.NewCompiler(of.Types(), options))
	return c.(*transcode.Compiler)
}

// pending says why there is no schema, in words for clients.
func (s *sharedSchema) pending() string {
	const unknown = "the methods of the service are not known yet"
	live := s.follower()
	if live == nil {
		return unknown
	}
	err := live.Status().Err
	var (
		none        *schema.NoReflectionError
		unavailable *pool.UnavailableError
	)
	switch {
	case err == nil:
		return unknown
	case errors.As(err, &none):
		return "the methods of the service are not known, because it offers no server reflection: " +
			"its operator can enable reflection, or give the gateway its descriptors"
	case errors.As(err, &unavailable):
		return unknown + ": " + unavailable.GRPCStatus().Message()
	default:
		return unknown + ": its description could not be read"
	}
}

// undescribed reports whether the service has answered and offers no reflection.
func (s *sharedSchema) undescribed() bool {
	var none *schema.NoReflectionError
	live := s.follower()
	return live != nil && errors.As(live.Status().Err, &none)
}

// pendingView tells operators why there is no schema.
func (s *sharedSchema) pendingView(upstream string) PendingView {
	v := PendingView{Upstream: upstream, Since: s.began, Reason: s.pending()}
	if live := s.follower(); live != nil {
		v.Reason = cmp.Or(live.Status().LastError, v.Reason)
	}
	return v
}

// reloaded is called after each attempt to read.
func (s *sharedSchema) reloaded(result schema.Result) {
	countReload(result)
	s.notify.Lock()
	defer s.notify.Unlock()
	if !s.isSettled {
		s.isSettled = true
		close(s.settled)
	}
	for fn := range s.subscribers {
		(*fn)()
	}
}

// changed posts an event about a schema that takes the place of another.
func (s *sharedSchema) changed(before, now *schema.Schema) {
	if !bus.any() {
		return
	}
	d := now.Since(before)
	bus.post(occurrence{eventSchemaChanged, s, map[string]any{
		"added": schema.Listed(d.Added), "removed": schema.Listed(d.Removed), "methods": len(now.Methods()),
	}})
}

// subscribe makes fn be called after each attempt to read, one call at a time. stop waits for a
// running fn.
func (s *sharedSchema) subscribe(fn func()) (stop func()) {
	s.notify.Lock()
	defer s.notify.Unlock()
	key := &fn
	s.subscribers[key] = struct{}{}
	return func() {
		s.notify.Lock()
		defer s.notify.Unlock()
		delete(s.subscribers, key)
	}
}

// SchemaView is the state of a schema as the admin API shows it. Its JSON is public.
type SchemaView struct {
	// Source is reflection, protoset or proto.
	Source string `json:"source"`
	schema.Status
}

func (s *sharedSchema) view() SchemaView {
	v := SchemaView{Source: s.source}
	if live := s.follower(); live != nil {
		v.Status = live.Status()
	}
	if current := s.current(); !v.Loaded && current != nil {
		v.Fingerprint, v.Services, v.Methods = current.Fingerprint(), current.Services(), len(current.Methods())
	}
	if v.Services == nil {
		v.Services = []string{}
	}
	return v
}

// linger waits for the first attempt to read, for up to settleTime. The handler of a config that
// was replaced at once may have requests that wait for it.
func (s *sharedSchema) linger() {
	if caddy.Exiting() {
		return
	}
	select {
	case <-s.settled:
	case <-time.After(settleTime):
	}
}

// Destruct implements caddy.Destructor. The schema ends in the background, and then gives back its
// channel.
func (s *sharedSchema) Destruct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	live, stopReady := s.live, s.stopReady
	leaving.run(func() {
		if stopReady != nil {
			stopReady()
		}
		if live != nil {
			s.linger()
			live.Close()
		}
		if s.channel != nil {
			s.channel.release()
		}
	})
	return nil
}
