// Package locks lets a process of the benchmarks tell how long its goroutines have waited for locks
// (sync.Mutex, sync.RWMutex, and the runtime's own): lock_wait_seconds at /debug/vars.
package locks

import (
	"expvar"
	"runtime/metrics"
)

func init() {
	expvar.Publish("lock_wait_seconds", expvar.Func(func() any {
		sample := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
		metrics.Read(sample)
		return sample[0].Value.Float64()
	}))
}
