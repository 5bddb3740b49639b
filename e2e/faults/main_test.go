// Package faults breaks what the gateway depends on, one way per test, and judges by the history: a
// real Caddy process, real etcd members and real instances, each in a process of its own, under
// open-loop load. Every request has an id, and every instance writes down the ids that it executes,
// so that lost and doubled calls show. The rows are those of docs/faults.md.
//
// `go test ./faults` runs the short form, with timeouts shortened by configuration; FAULTS=full
// runs the long one, with the defaults of the gateway where a row is about them (`make faults`);
// SOAK=30m runs TestSoak alone for that long (`make soak`).
package faults

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// roleEnv makes this test binary run as an instance or an etcd member, instead of the tests.
const roleEnv = "FAULTS_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := play(role, os.Getenv(roleEnv+"_CONFIG")); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if migrates() {
		if err := migrate(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	kit.RemoveBinary()
	removePlainBinary()
	if err := table.write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func play(role, config string) error {
	switch role {
	case "instance":
		return runInstance(config)
	case "etcd":
		return runMember(config)
	default:
		return fmt.Errorf("no role of the tests is called %q", role)
	}
}

// full says whether the long form runs.
func full() bool { return os.Getenv("FAULTS") == "full" }

// either is the first value in the short form and the second in the long one.
func either[T any](short, long T) T {
	if full() {
		return long
	}
	return short
}

// ms rounds for the report.
func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
