package probe

import (
	"context"
	"log/slog"
)

// bfdWatcher makes BFD_CHECK, as far as there is BFD: the server counts as up.
type bfdWatcher struct {
	name string
	log  *slog.Logger
}

// Watch reports once.
func (w bfdWatcher) Watch(ctx context.Context, report func(Outcome)) {
	w.log.Warn("BFD_CHECK has no effect yet: the server counts as up", "bfd_instance", w.name)
	report(Outcome{OK: true})
	<-ctx.Done()
}
