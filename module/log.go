package module

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lastingLog is the logger of what outlives configs: it writes to Caddy's default log of the moment, at its level. What caddy.Log returns is the log
// of the config in force: when another one takes over, its file may be closed, and what is written there later is lost.
func lastingLog() *zap.Logger {
	return caddy.Log().WithOptions(zap.WrapCore(func(zapcore.Core) zapcore.Core { return lastingCore{} })).Named(appName)
}

// lastingCore hands everything to the core of Caddy's default log. discovery/etcd has another one, since a source imports nothing of ours
// but its contract.
type lastingCore struct{ fields []zapcore.Field }

// Enabled implements zapcore.LevelEnabler.
func (lastingCore) Enabled(l zapcore.Level) bool { return caddy.Log().Core().Enabled(l) }

// With implements zapcore.Core.
func (c lastingCore) With(fields []zapcore.Field) zapcore.Core {
	return lastingCore{slices.Concat(c.fields, fields)}
}

// Check implements zapcore.Core. The entry is written by the core of the moment.
func (c lastingCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return ce
	}
	return caddy.Log().Core().With(c.fields).Check(e, ce)
}

// Write implements zapcore.Core, for those who wrap it.
func (c lastingCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return caddy.Log().Core().With(c.fields).Write(e, fields)
}

// Sync implements zapcore.Core.
func (lastingCore) Sync() error { return caddy.Log().Core().Sync() }
