package schema

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// failingLoader cannot load for the given time.
type failingLoader struct {
	until  time.Time
	schema *Schema
}

var errEarly = errors.New("nothing is known yet")

func (l failingLoader) Load(context.Context) (*Schema, error) {
	if time.Now().Before(l.until) {
		return nil, errEarly
	}
	return l.schema, nil
}

func (failingLoader) Watch(ctx context.Context, _ func()) { <-ctx.Done() }

func TestEarlyErrorsAreNoWarnings(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fails time.Duration
		early bool
		warns int
	}{
		{"a start", time.Second, true, 0},
		{"a start that takes long", 30 * time.Second, true, 0},
		{"another error", time.Second, false, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				l := NewLive(failingLoader{time.Now().Add(tc.fails), &Schema{}}, LiveOptions{
					Log:   zap.New(core),
					Early: func(err error) bool { return tc.early && errors.Is(err, errEarly) },
				})
				defer l.Close()
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := logs.FilterLevelExact(zap.WarnLevel).Len(); n != tc.warns {
					t.Errorf("%d warnings, want %d: %v", n, tc.warns, logs.All())
				}
				if n := logs.FilterMessage("the schema can be read again").Len(); n != tc.warns {
					t.Errorf("recovery was told %d times, want %d", n, tc.warns)
				}
				if l.Current() == nil {
					t.Error("no schema")
				}
			})
		})
	}
}
