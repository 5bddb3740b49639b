package module

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
)

const (
	// digestAfter is how long a digest collects before it logs its first line.
	digestAfter = time.Second
	// digestEvery is the least time between two lines of a digest.
	digestEvery = time.Minute
)

// digest logs in one line what happens to many services at the same time: how many there are, some
// of them, and the details of the first. The zero value needs a message and write.
type digest struct {
	message string
	write   func(log *zap.Logger, message string, fields ...zap.Field)

	mu      sync.Mutex
	count   int
	targets []string
	fields  []zap.Field // of the first
	last    time.Time
}

// add notes that it happened to a target. The fields are logged if it is the first one.
func (d *digest) add(target string, fields ...zap.Field) {
	const examples = 5
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count++; d.count == 1 {
		d.fields = fields
		wait := max(digestAfter, time.Until(d.last.Add(digestEvery)))
		time.AfterFunc(wait, d.flush)
	}
	if len(d.targets) < examples {
		d.targets = append(d.targets, discovery.Printable(target))
	}
}

// flush logs the line.
func (d *digest) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count == 0 {
		return
	}
	fields := append(slices.Clone(d.fields), zap.Int("services", d.count), zap.Strings("targets", d.targets))
	d.count, d.targets, d.fields, d.last = 0, nil, nil, time.Now()
	d.write(lastingLog(), d.message, fields...)
}
