package etcd

import (
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-grpc/gateway/discovery"
)

// lasting returns a logger for what outlives configs. It writes to the logger that present returns
// at the moment. The log of a config may be closed after another config has taken over, and what is
// written there later is lost.
func lasting(present func() *zap.Logger) *zap.Logger {
	core := lastingCore{core: func() zapcore.Core { return present().Core() }}
	return present().WithOptions(zap.WrapCore(func(zapcore.Core) zapcore.Core { return core }))
}

// errorField is an error as a log field. Texts of etcd go into it, and they may be anything.
func errorField(err error) zap.Field { return zap.String("error", discovery.Printable(err.Error())) }

// lastingCore hands everything to the core of the logger that is present at the moment.
type lastingCore struct {
	core   func() zapcore.Core
	fields []zapcore.Field
}

// Enabled implements zapcore.LevelEnabler.
func (c lastingCore) Enabled(l zapcore.Level) bool { return c.core().Enabled(l) }

// With implements zapcore.Core.
func (c lastingCore) With(fields []zapcore.Field) zapcore.Core {
	return lastingCore{c.core, slices.Concat(c.fields, fields)}
}

// Check implements zapcore.Core. The entry is written by the core of the moment.
func (c lastingCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return ce
	}
	return c.core().With(c.fields).Check(e, ce)
}

// Write implements zapcore.Core, for demotedCore, which wraps this one.
func (c lastingCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return c.core().With(c.fields).Write(e, fields)
}

// Sync implements zapcore.Core.
func (c lastingCore) Sync() error { return c.core().Sync() }
