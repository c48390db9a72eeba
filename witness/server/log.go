package server

import (
	"context"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger is what etcd logs to: slog, from warnings up. Its Fatal, which would end the
// process, and its Panic end only the goroutine and become the error of Run.
func (s *Server) zapLogger() *zap.Logger {
	hook := endGoroutine{s}
	return zap.New(core{log: s.log, serving: &s.serving}, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

// core is a zapcore.Core that writes to slog.
type core struct {
	log     *slog.Logger
	serving *atomic.Bool
	fields  []zapcore.Field
}

// Enabled reports whether etcd need make the entry at all. Before and after it serves it need
// not: what keeps it from starting is the error of Run, and when it stops it calls each
// closed listener an error.
func (c core) Enabled(l zapcore.Level) bool {
	return l >= zapcore.DPanicLevel || l >= zapcore.WarnLevel && c.serving.Load()
}

// harmless holds what etcd says after the first start of a quickly elected member: it cannot
// note its storage version yet, tries again some seconds later, and uses it for downgrades only.
var harmless = map[string]bool{ //nolint:gochecknoglobals // a table
	"Failed to detect schema version":  true,
	"failed to update storage version": true,
}

// With returns a core that adds the fields to every entry.
func (c core) With(fields []zapcore.Field) zapcore.Core {
	c.fields = slices.Concat(c.fields, fields)
	return c
}

// Check adds c to the entry when it is enabled.
func (c core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !harmless[e.Message] {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write writes the entry with its fields in the order of their names.
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(enc)
	}
	attrs := []slog.Attr{slog.String("component", "etcd")}
	for _, k := range slices.Sorted(maps.Keys(enc.Fields)) {
		attrs = append(attrs, slog.Any(k, enc.Fields[k]))
	}
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	c.log.LogAttrs(context.Background(), level, e.Message, attrs...) //nolint:sloglint // the message is etcd's
	return nil
}

// Sync does nothing: slog does not buffer.
func (c core) Sync() error { return nil }

// endGoroutine is what follows etcd's Fatal and Panic.
type endGoroutine struct{ s *Server }

// OnWrite reports the entry as the error of Run and ends the goroutine that logged it.
func (h endGoroutine) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	why := e.Message
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	if err, ok := enc.Fields["error"].(string); ok {
		why += ": " + err
	}
	h.s.fail(why)
	runtime.Goexit()
}
