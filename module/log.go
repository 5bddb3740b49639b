package module

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-grpc/gateway/discovery"
)

// lastingLog returns a logger for what outlives configs. It writes to the default log that Caddy
// has at the moment, at its level. caddy.Log returns the log of the config in force: when another
// config takes over, its file may be closed, and what is written there later is lost.
func lastingLog() *zap.Logger {
	return caddy.Log().WithOptions(zap.WrapCore(func(zapcore.Core) zapcore.Core {
		return printableCore{lastingCore{}}
	})).Named(appName)
}

// printable makes everything that a logger writes printable, because texts of services and
// registries go into log fields: a line break in one must not look like the next entry of the log.
func printable(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return printableCore{core} }))
}

// printableCore is what printable puts around a core.
type printableCore struct{ zapcore.Core }

// With implements zapcore.Core.
func (c printableCore) With(fields []zapcore.Field) zapcore.Core {
	return printableCore{c.Core.With(printableFields(fields))}
}

// Check implements zapcore.Core. The core inside decides again in Write.
func (c printableCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return ce
	}
	return ce.AddCore(e, c)
}

// Write implements zapcore.Core.
func (c printableCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message = discovery.Printable(e.Message)
	if ce := c.Core.Check(e, nil); ce != nil {
		ce.Write(printableFields(fields)...)
	}
	return nil
}

func printableFields(fields []zapcore.Field) []zapcore.Field {
	out := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		out[i] = printableField(f)
	}
	return out
}

// printableField returns the field with printable text. Stacks are texts of this process, with line
// breaks.
func printableField(f zapcore.Field) zapcore.Field {
	switch {
	case f.Key == "stack":
	case f.Type == zapcore.StringType:
		f.String = discovery.Printable(f.String)
	case f.Type == zapcore.ByteStringType:
		return zap.String(f.Key, discovery.Printable(string(f.Interface.([]byte))))
	case f.Type == zapcore.ErrorType:
		f.Interface = printableError{f.Interface.(error)}
	case f.Type == zapcore.StringerType:
		f.Interface = printableStringer{f.Interface.(fmt.Stringer)}
	case f.Type == zapcore.ArrayMarshalerType:
		if v := reflect.ValueOf(f.Interface); v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String {
			texts := make([]string, v.Len())
			for i := range texts {
				texts[i] = discovery.Printable(v.Index(i).String())
			}
			return zap.Strings(f.Key, texts)
		}
	}
	return f
}

// printableError is an error whose text can be shown.
type printableError struct{ error }

func (e printableError) Error() string { return discovery.Printable(e.error.Error()) }
func (e printableError) Unwrap() error { return e.error }

type printableStringer struct{ fmt.Stringer }

func (s printableStringer) String() string { return discovery.Printable(s.Stringer.String()) }

// lastingCore hands everything to the core of Caddy's default log. discovery/etcd has its own copy,
// because a source imports only the contract for sources.
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

// Write implements zapcore.Core, for cores that wrap this one.
func (c lastingCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return caddy.Log().Core().With(c.fields).Write(e, fields)
}

// Sync implements zapcore.Core.
func (lastingCore) Sync() error { return caddy.Log().Core().Sync() }
