package schema

import (
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Status is the state of a Live for operators. Its JSON is public.
type Status struct {
	// Loaded reports whether a schema is in force.
	Loaded      bool      `json:"loaded"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Services    []string  `json:"services"`
	Methods     int       `json:"methods"`
	Problems    []Problem `json:"problems,omitempty"`
	// Since is when the schema in force was read for the first time. CheckedAt is when a load last
	// found it to be current.
	Since     time.Time `json:"since,omitzero"`
	CheckedAt time.Time `json:"checked_at,omitzero"`
	// LastError is why the last load failed, or "" if it did not. ErrorSince is when the current
	// run of failures began.
	LastError  string    `json:"last_error,omitempty"`
	ErrorSince time.Time `json:"error_since,omitzero"`
	// Reloads counts loads by their result.
	Reloads map[Result]uint64 `json:"reloads"`

	// Err is the error that LastError is the text of, for errors.As.
	Err error `json:"-"`
}

// Status returns a copy.
func (l *Live) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.status
	st.Reloads = maps.Clone(st.Reloads)
	return st
}

// record keeps the result of a load and logs what is new about it.
func (l *Live) record(result Result, s *Schema, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	st := &l.status
	st.Reloads[result]++
	if err != nil {
		l.recordFailure(st, now, err)
		return
	}
	if st.Err != nil {
		level := zap.InfoLevel
		if !l.warned {
			level = zap.DebugLevel // The failure was not logged at WARN either.
		}
		l.log.Log(level, "the schema can be read again", zap.Duration("after", now.Sub(st.ErrorSince)))
	}
	st.Err, st.LastError, st.ErrorSince = nil, "", time.Time{}
	l.warned = false
	st.CheckedAt = now
	if result == Changed {
		st.Loaded, st.Since = true, now
		st.Fingerprint, st.Services, st.Methods = s.Fingerprint(), s.Services(), len(s.Methods())
		l.recordChange(s)
	}
	// Problems may change while the fingerprint stays the same.
	if !slices.Equal(st.Problems, s.Problems()) {
		st.Problems = s.Problems()
		for _, p := range st.Problems {
			l.log.Warn("part of the schema cannot be used", zap.String("subject", p.Subject), zap.String("reason", p.Reason))
		}
	}
}

// recordChange logs a new schema. If it takes the place of another, the line says what came and
// went.
func (l *Live) recordChange(s *Schema) {
	fields := []zap.Field{zap.String("fingerprint", s.Fingerprint()), zap.Strings("services", s.Services()), zap.Int("methods", len(s.Methods()))}
	before := l.current.Load()
	if before == nil {
		l.log.Info("schema loaded", fields...)
		return
	}
	d := s.Since(before)
	l.log.Info("schema changed", append(fields, zap.String("added", Listed(d.Added)), zap.String("removed", Listed(d.Removed)))...)
}

// recordFailure logs an error once, and not each time that it occurs again.
func (l *Live) recordFailure(st *Status, now time.Time, err error) {
	const most = 4096 // Errors of compilers can be long.
	text := shortened(err.Error(), most)
	if st.Err == nil || st.LastError != text {
		l.warned = false
	}
	level := zap.DebugLevel
	if early := l.opts.Early != nil && l.opts.Early(err); !l.warned && !early {
		level = zap.WarnLevel
		l.warned = true
	}
	if st.Err == nil {
		st.ErrorSince = now
	}
	st.Err, st.LastError = err, text
	l.log.Log(level, "reading the schema failed", zap.String("error", text), zap.Bool("schema_in_force", st.Loaded))
}
