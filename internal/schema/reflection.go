package schema

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The messages of v1 and v1alpha are the same on the wire. Only the names of the methods differ.
const (
	reflectV1      = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	reflectV1Alpha = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
)

// ReflectionOptions bound what is read from a server. The zero value of a field means its default.
type ReflectionOptions struct {
	// Timeout is the time for one load. Default: 10s.
	Timeout time.Duration
	// MaxBytes is the size of all files of one load together, in bytes. Default: 32 MiB. A server
	// may send files repeatedly. All answers together may have eight times the size.
	MaxBytes int
}

// Reflection returns a loader that asks the service itself, by grpc.reflection.v1, or by v1alpha if
// the server does not have v1. It exposes the services that the server lists, except gRPC's own. A
// service that the server lists and cannot describe is one of the schema's Problems.
//
// All questions of a load go through one stream, so that one instance answers all of them. Common
// files (google/protobuf, google/api, google/rpc) are not asked for. Where a file imports another
// by a path that the server does not know, the types are looked up by name.
//
// The schema's Types ask the service for types and extensions that are not in the schema. See
// Types.
//
// Errors are *NoReflectionError, *ConflictError, or wrap the status of the call.
func Reflection(conn grpc.ClientConnInterface, opts ReflectionOptions) Loader {
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 32 << 20
	}
	return &reflection{conn: conn, opts: opts}
}

type reflection struct {
	conn grpc.ClientConnInterface
	opts ReflectionOptions

	mu sync.Mutex
	// last is the schema that was built last, and what it was built from.
	last struct {
		input  [sha256.Size]byte
		schema *Schema
	}
	// generation counts the schemas that were replaced only because a learned type had changed.
	generation int
}

// Watch does nothing, because a server does not report changes. Reload on Trigger, when instances
// come, and at intervals.
func (r *reflection) Watch(ctx context.Context, _ func()) { <-ctx.Done() }

// Load implements Loader.
func (r *reflection) Load(ctx context.Context) (*Schema, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel() // Ends the stream.
	s, err := r.load(ctx, reflectV1)
	if status.Code(err) == codes.Unimplemented {
		s, err = r.load(ctx, reflectV1Alpha)
	}
	switch {
	case err == nil:
		return s, nil
	case status.Code(err) == codes.Unimplemented:
		return nil, &NoReflectionError{Err: err}
	case ctx.Err() != nil:
		return nil, fmt.Errorf("server reflection, given %s: %w", r.opts.Timeout, errors.Join(context.Cause(ctx), err))
	default:
		return nil, fmt.Errorf("server reflection: %w", err)
	}
}

func (r *reflection) load(ctx context.Context, method string) (*Schema, error) {
	c := newReflectionCall(r.conn, method, newAssembly(), reflectionLimits{
		bytes: r.opts.MaxBytes, traffic: 8 * r.opts.MaxBytes, questions: maxQuestions, declarations: maxDeclarations,
	})
	defer c.close()
	names, err := c.listServices(ctx)
	if err != nil {
		return nil, err
	}
	problems, err := c.fetchServices(ctx, names)
	if err != nil {
		return nil, err
	}
	if err := c.fetchImports(ctx); err != nil {
		return nil, err
	}
	if err := c.repairImports(ctx); err != nil {
		return nil, err
	}
	if err := r.recheck(ctx, c); err != nil {
		return nil, err
	}
	s := r.build(c, names, problems)
	if len(s.services) > 0 {
		return s, nil
	}
	if len(s.problems) > 0 {
		return nil, fmt.Errorf("none of the services that the server lists can be used: %s", s.problems[0])
	}
	return nil, errors.New("the server lists no services except gRPC's own")
}

// recheck asks again for what the last schema has learned since it was built. If something has
// changed, that schema is not used again, because codecs keep the types that they were compiled
// for.
func (r *reflection) recheck(ctx context.Context, c *reflectionCall) error {
	r.mu.Lock()
	last := r.last.schema
	r.mu.Unlock()
	if last == nil {
		return nil
	}
	same, err := last.types.learner.Load().recheck(ctx, c)
	if err != nil || same {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last.schema = nil
	r.generation++
	return nil
}

// build returns the last schema again if the server said the same as then, which it nearly always
// does. Linking is the expensive part of a load.
func (r *reflection) build(c *reflectionCall, names []string, problems []Problem) *Schema {
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %q", c.method, names, problems)
	for _, path := range slices.Sorted(maps.Keys(c.files.given)) {
		// Not the bytes as they came: servers need not write the same file in the same way twice.
		raw := canonical(c.files.given[path].desc, true)
		fmt.Fprintf(h, "%d ", len(raw))
		h.Write(raw)
	}
	input := [sha256.Size]byte(h.Sum(nil))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.schema == nil || r.last.input != input {
		s := c.files.buildLenient(names, problems)
		if r.generation > 0 {
			s.fingerprint += fmt.Sprintf("-%d", r.generation)
		}
		if last := r.last.schema; last != nil && last.fingerprint == s.fingerprint {
			s.AskLike(last) // The last one stays in force, and so does what it has learned.
		} else {
			s.types.learner.Store(newLearner(r.conn, c.method, s.files))
		}
		r.last.input, r.last.schema = input, s
	}
	return r.last.schema
}
