package probe

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/lvs"
)

// Outcome is what one attempt found.
type Outcome struct {
	OK     bool
	Why    string     // of a failure, for people: "connect 10.0.0.1:80: connection refused"
	Adjust lvs.Adjust // what a check says of the weight, with OK
}

// Prober makes attempts. It may be used by several goroutines at once and holds nothing between attempts
// that would have to be closed.
type Prober interface {
	// Probe makes one attempt and returns what it found: by the end of ctx, which is a
	// failure like others.
	Probe(ctx context.Context) Outcome
}

// Watcher reports what it finds without being asked.
type Watcher interface {
	// Watch calls report, from one goroutine, with what there is at first and then with
	// each change, and returns when ctx ends.
	Watch(ctx context.Context, report func(Outcome))
}

// Options is what watchers need to know beside the checker.
type Options struct {
	Log   *slog.Logger
	Files *Files // what all FILE_CHECKs share; nil: each has its own
}

// New returns the prober of a checker that makes attempts. One of HTTP_GET and SSL_GET
// fetches the first URL: those of the others are made from checkers with one URL each. An
// error says why there is none: a checker that is no good, or one for [NewWatcher].
func New(c config.Checker) (Prober, error) {
	switch check := c.Check.(type) {
	case config.TCPCheck:
		return tcpProber{c}, nil
	case config.HTTPCheck:
		return newHTTP(c, check)
	case config.SMTPCheck:
		return smtpProber{c, check.Helo}, nil
	case config.DNSCheck:
		return newDNS(c, check)
	case config.MiscCheck:
		return newMisc(check), nil
	case config.UDPCheck:
		return udpProber{c, check}, nil
	case config.PingCheck:
		return pingProber{c}, nil
	default:
		return nil, fmt.Errorf("%s makes no attempts", c.Check.Keyword())
	}
}

// NewWatcher returns the watcher of a checker; nil without an error for one that makes attempts.
func NewWatcher(c config.Checker, o Options) (Watcher, error) {
	switch check := c.Check.(type) {
	case config.FileCheck:
		return newFile(check, o), nil
	case config.BFDCheck:
		return bfdWatcher{check.Name, logger(o)}, nil
	default:
		return nil, nil //nolint:nilnil // said above
	}
}

// logger returns the logger of options.
func logger(o Options) *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// Limit returns how long an attempt may take: connect_timeout, misc_timeout of MISC_CHECK.
func Limit(c config.Checker) time.Duration {
	if misc, ok := c.Check.(config.MiscCheck); ok {
		return misc.Timeout
	}
	return c.Timeout
}

// failed returns the outcome of an attempt that failed for a reason.
func failed(err error) Outcome { return Outcome{Why: err.Error()} }
