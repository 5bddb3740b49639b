//go:build !linux

package transcode_test

import "time"

var started = time.Now()

// threadTime returns the time that has passed, since there is no way to ask for that of a thread.
func threadTime() (time.Duration, error) { return time.Since(started), nil }
