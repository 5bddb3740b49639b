package pool

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// logged runs a test over a balancer whose log can be read.
func logged(t *testing.T, s Settings, run func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		b, g := startBalancer(t, s)
		b.lock()
		b.events = newEvents(zap.New(core))
		b.publishAndUnlock()
		run(b, g, logs)
	})
}

func TestLogTellsWhatHappensToInstances(t *testing.T) {
	logged(t, Settings{}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
		b.list("a", "b")
		synctest.Wait()
		g.sub("a").become(2, nil) // READY
		g.sub("b").refuse()
		g.sub("b").refuse() // said once
		time.Sleep(2 * time.Second)
		b.list("a")
		synctest.Wait()
		var got []string
		for _, e := range logs.All() {
			got = append(got, fmt.Sprint(e.Level, ": ", e.Message))
		}
		want := []string{
			"info: instances added",
			"info: instance connected",
			"warn: cannot connect to instance; retrying with backoff",
			"info: instances removed; their calls in flight may finish",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestInstanceThatStopsAndIsDeregisteredIsNoWarning(t *testing.T) {
	logged(t, Settings{}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
		b.list("a", "b")
		synctest.Wait()
		g.sub("a").become(2, nil) // READY
		g.sub("b").refuse()
		time.Sleep(warnAfter / 2)
		b.list("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := logs.FilterLevelExact(zapcore.WarnLevel).Len(); n > 0 {
			t.Errorf("%d warnings: %v", n, logs.All())
		}
		if logs.FilterMessageSnippet("instances removed").Len() != 1 {
			t.Errorf("the removal is not in the log: %v", logs.All())
		}
	})
}

func TestLogIsLimitedUnderChurn(t *testing.T) {
	logged(t, Settings{}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
		g.open = true
		const seconds = 20
		for i := range seconds * 50 {
			b.list(fmt.Sprint("host", i))
			time.Sleep(20 * time.Millisecond)
		}
		if n, most := logs.Len(), eventsBurst+eventsPerSecond*(seconds+1); n > most {
			t.Errorf("%d lines were written, want at most %d", n, most)
		}
		time.Sleep(time.Minute)
		b.list()
		synctest.Wait()
		all := logs.All()
		if _, ok := all[len(all)-1].ContextMap()["similar_lines_left_out"]; !ok {
			t.Errorf("the last line does not say how many were left out: %v", all[len(all)-1])
		}
	})
}

func TestTooManyPingsAreExplained(t *testing.T) {
	logged(t, Settings{KeepaliveTime: 10 * time.Second}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
		g.open = true
		b.list("10.0.0.1:9001")
		time.Sleep(time.Second)
		g.sub("10.0.0.1:9001").conn.TooManyPings()
		synctest.Wait()
		lines := logs.FilterMessageSnippet("raise the keepalive time").All()
		if len(lines) != 1 {
			t.Fatalf("the log does not say what to do: %v", logs.All())
		}
		fields := lines[0].ContextMap()
		if fields["instance"] != "10.0.0.1:9001" || fields["keepalive_time"] != 10*time.Second || fields["service"] != "user.rpc" {
			t.Errorf("fields are %v", fields)
		}
	})
}
