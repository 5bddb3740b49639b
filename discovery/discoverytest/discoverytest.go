// Package discoverytest runs the contract of discovery.Source and discovery.Catalog against an
// implementation. The sources of this repository use it, and so can anybody else's:
//
//	func TestContract(t *testing.T) {
//		discoverytest.Run(t, discoverytest.Subject{
//			New: func(t testing.TB) (discovery.Source, discoverytest.Registry) {
//				r := startMyRegistry(t)
//				return &Source{Address: r.Addr()}, r
//			},
//		})
//	}
//
// Each check gets a registry of its own. A check waits for what it expects, and never expects
// anything to be fast: Subject.Patience bounds the wait.
package discoverytest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// Instance is an instance of a service in a registry.
type Instance struct {
	// ID tells registrations apart. A registry may make IDs of its own of it.
	ID string
	// Addr is host:port.
	Addr string
	// Service is the name of the service. It is "" if the subject is not a catalog. A registry may
	// add a prefix of its own to it.
	Service string
}

// Registry is a registry that a test changes. Its methods return when the registry itself has
// changed. The source may learn of that later.
type Registry interface {
	// Set makes the registry have exactly these instances.
	Set(instances ...Instance)
	// Fail makes the registry fail until Heal. It must be noticed by a source that watches.
	Fail()
	Heal()
}

// Spoiler is implemented by registries that can have an entry which no source can use, such as an
// address without a port.
type Spoiler interface {
	// Spoil adds such an entry.
	Spoil()
}

// Subject is what is tested.
type Subject struct {
	// New makes a source and the registry that it watches. The registry has no instance, and works.
	// Everything that New starts must have ended when the test of t has. Required.
	New func(t testing.TB) (discovery.Source, Registry)
	// Catalog says that the source is a catalog.
	Catalog bool
	// Fixed says that the list is in the config. New then ignores Set: the registry may be nil, and
	// only the checks are run that need none. The list must not be empty.
	Fixed bool
	// Patience is how long to wait for what must happen. Default: 20s.
	Patience time.Duration
	// Quiet is how long to watch for what must not happen. Default: 300ms.
	Quiet time.Duration
}

// Run runs all checks, each as a subtest.
func Run(t *testing.T, s Subject) {
	t.Helper()
	for _, c := range checks {
		if c.applies(&s) {
			t.Run(c.name, func(t *testing.T) {
				if err := c.verify(t, s); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// check is one part of the contract.
type check struct {
	name string
	// fixed says that the check needs no registry.
	fixed bool
	// catalog says that the check is for catalogs only.
	catalog bool
	run     func(w *watch) error
}

func (c *check) applies(s *Subject) bool { return (c.fixed || !s.Fixed) && (!c.catalog || s.Catalog) }

// errSkipped says that a check does not apply to the registry.
var errSkipped = errors.New("skipped")

// verify runs the check, and then those that every use of a source must pass.
func (c *check) verify(t testing.TB, s Subject) error {
	if s.Patience <= 0 {
		s.Patience = 20 * time.Second
	}
	if s.Quiet <= 0 {
		s.Quiet = 300 * time.Millisecond
	}
	source, registry := s.New(t)
	w := newWatch(&s, source, registry)
	err := c.run(w)
	if err = errors.Join(err, w.stop()); err != nil && !errors.Is(err, errSkipped) {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}
