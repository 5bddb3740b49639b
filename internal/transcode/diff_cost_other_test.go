//go:build !linux

package transcode_test

import "time"

var started = time.Now()

// threadTime returns the time that has passed, because the time of a thread cannot be had here.
func threadTime() (time.Duration, error) { return time.Since(started), nil }
