package main

import (
	"strings"

	"github.com/google/pprof/profile"
)

// Who causes the work: the innermost function on the stack that belongs to one of them. Reading and
// writing a client's connection is net/http's, that of a backend's is grpc-go's; what is allocated
// is of the one who asked for it. "scheduler" is what runs for nobody: finding the next goroutine,
// and waiting; "collector" is marking and sweeping in the background.
var owners = []string{"gateway", "grpc-go", "Caddy", "net/http", "scheduler", "collector"}

// What is done: system calls, allocation (with the collector's work that is charged to it), and
// anything else.
var doings = []string{"kernel", "allocation", "collector", "scheduler", "the rest"}

type kind struct{ owner, doing string }

// share is how the processor time of one kind of work divides.
type share struct {
	work       string
	perRequest float64 // µs
	total      int64
	samples    map[kind]int64
	packages   map[string]float64 // of the gateway, as a share of all
}

// of is the share of some kinds, between 0 and 1.
func (s *share) of(some func(kind) bool) float64 {
	sum := int64(0)
	for k, n := range s.samples {
		if some(k) {
			sum += n
		}
	}
	return float64(sum) / float64(max(1, s.total))
}

func sortOut(work string, perRequest float64, p *profile.Profile) *share {
	s := &share{work: work, perRequest: perRequest, samples: make(map[kind]int64), packages: make(map[string]float64)}
	value := len(p.SampleType) - 1 // nanoseconds
	for _, sample := range p.Sample {
		n := sample.Value[value]
		s.total += n
		k, pkg := classify(stack(sample))
		s.samples[k] += n
		if pkg != "" {
			s.packages[pkg] += float64(n)
		}
	}
	for pkg := range s.packages {
		s.packages[pkg] /= float64(max(1, s.total))
	}
	return s
}

// stack lists functions, innermost first.
func stack(sample *profile.Sample) []string {
	var names []string
	for _, l := range sample.Location {
		for _, line := range l.Line {
			names = append(names, line.Function.Name)
		}
	}
	return names
}

const ourModule = "github.com/caddy-grpc/gateway/"

// prefixes of functions say whose they are. golang.org/x/net/http2 has Caddy's server of HTTP/2,
// which counts as net/http; its framer is grpc-go's as well, so whose it is depends on who called
// it.
var prefixes = []struct{ prefix, owner string }{
	{ourModule, "gateway"},
	{"google.golang.org/grpc", "grpc-go"},
	{"golang.org/x/net/http2.(*serverConn)", "net/http"},
	{"golang.org/x/net/http2.(*responseWriter", "net/http"},
	{"golang.org/x/net/http2.(*requestBody)", "net/http"},
	{"github.com/caddyserver/", "Caddy"},
	{"net/http", "net/http"},
}

var (
	kernelCalls = []string{"internal/runtime/syscall", "syscall.RawSyscall", "syscall.Syscall", "syscall.rawVforkSyscall",
		"runtime.futex", "runtime.epollwait", "runtime.madvise", "runtime.write1", "runtime.usleep", "runtime.tgkill", "runtime.mmap"}
	collecting = []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart", "runtime.gcMarkDone", "runtime.gcMarkTermination"}
	allocating = []string{"runtime.mallocgc", "runtime.gcAssistAlloc", "runtime.growslice", "runtime.newobject", "runtime.makeslice"}
)

// classify says whose a stack is and what it does, and which package of the gateway it is in.
func classify(functions []string) (k kind, pkg string) {
	k = kind{owner: "scheduler", doing: "the rest"}
	allocates, collects := false, false
	for _, f := range functions {
		allocates = allocates || hasPrefix(f, allocating)
		collects = collects || hasPrefix(f, collecting)
		if owner := ownerOf(f); owner != "" {
			k.owner = owner
			if owner == "gateway" {
				pkg = packageOf(f)
			}
			break
		}
	}
	switch {
	case collects:
		k.doing = "collector"
	case len(functions) > 0 && hasPrefix(functions[0], kernelCalls):
		k.doing = "kernel"
	case allocates:
		k.doing = "allocation"
	case k.owner == "scheduler":
		k.doing = "scheduler"
	}
	if collects && k.owner == "scheduler" {
		k.owner = "collector"
	}
	return k, pkg
}

func ownerOf(function string) string {
	for _, p := range prefixes {
		if strings.HasPrefix(function, p.prefix) {
			return p.owner
		}
	}
	return ""
}

// packageOf is the directory of a function of the gateway.
func packageOf(function string) string {
	name := strings.TrimPrefix(function, ourModule)
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot < 0 {
		return name
	}
	return name[:slash+dot]
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
