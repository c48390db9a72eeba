package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Config says what to serve, where, and from which directory.
type Config struct {
	// Name of the witness, as the cluster block has it.
	Name string
	// Cluster is the name of the cluster block. A data directory belongs to one cluster.
	Cluster string
	// DataDir is made when it is missing. Its path is at most 90 bytes long.
	DataDir string
	// ListenClient holds the URLs to serve: http or https, an IP address, a port. See Listeners.
	ListenClient []string
	// CertFile and KeyFile are the server's own certificate; https needs both. They are read
	// again for each connection, so that renewing them needs no restart.
	CertFile, KeyFile string
	// CAFile, when given, is the CA that must have signed every client's certificate.
	CAFile string
	// QuotaBytes bounds the database; default 64 MiB, which is about a thousand times what
	// the records of one cluster need.
	QuotaBytes int64
	Logger     *slog.Logger
}

const (
	// bindRetry is how long Run waits before it tries again to listen on an address that
	// this host does not have yet.
	bindRetry = time.Second
	// httpSocket is where metrics and health are served, in the data directory. It also makes
	// etcd serve gRPC alone on the client port, where its keepalive then works.
	httpSocket = "http.sock"
	// maxDataDir leaves room for httpSocket in a socket address (unix(7)).
	maxDataDir = 90

	// readyLimit is how long a started etcd may take until it answers; 0.1 s is usual.
	readyLimit = 10 * time.Second

	quotaDefault = 64 << 20
)

// Server is an etcd for one witness. Make it with New, run it once with Run.
type Server struct {
	cfg   Config
	urls  []url.URL
	log   *slog.Logger
	fatal chan error // etcd's log.Fatal and log.Panic; the first one counts

	serving atomic.Bool
	mu      sync.Mutex     // guards grpc
	grpc    []*grpc.Server // one for each URL, once they serve
}

// New checks the configuration and its files. It starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Name == "" || cfg.Cluster == "" || cfg.DataDir == "" || cfg.Logger == nil {
		return nil, errors.New("witness server: name, cluster, data directory and logger are needed")
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("witness data directory %s: %w", cfg.DataDir, err)
	}
	if len(dir) > maxDataDir {
		return nil, fmt.Errorf("witness data directory %s: the path is longer than %d bytes: choose a shorter one", dir, maxDataDir)
	}
	cfg.DataDir = dir
	if cfg.QuotaBytes == 0 {
		cfg.QuotaBytes = quotaDefault
	}
	s := &Server{cfg: cfg, log: cfg.Logger, fatal: make(chan error, 1)}
	if s.urls, err = parseListen(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// Run serves until ctx ends, then stops in order and returns nil. It calls ready once, when
// the witness answers. An address that is not there yet, or is still in use, is waited for. Any
// other error is final: a data directory that is damaged, in use or not ours, or a
// disk that can no longer be written.
func (s *Server) Run(ctx context.Context, ready func()) error {
	dir, err := openDir(s.cfg.DataDir, s.cfg.Cluster)
	if err != nil {
		return err
	}
	defer dir.close()
	if err := checkDatabase(s.cfg.DataDir); err != nil {
		return err
	}
	for _, u := range s.urls {
		if u.Scheme == "http" {
			s.log.WarnContext(ctx, "witness without TLS: whoever reaches it can take or block every claim", "listen", u.String())
		}
	}
	e, err := s.start(ctx)
	if err != nil || e == nil {
		return err
	}
	err = s.serve(ctx, e, ready)
	if errors.Is(err, errDamaged) {
		return err // a goroutine of etcd's ended in the middle: to stop would wait for it for ever
	}
	s.stop(e)
	return err
}

// stop ends etcd without the two waits that Close has: for being ready, and 5 s for
// clients to end their watches, while it answers nobody.
func (s *Server) stop(e *embed.Etcd) {
	s.serving.Store(false)
	select {
	case <-e.Server.ReadyNotify():
	default:
		e.Server.Stop()
	}
	s.mu.Lock()
	for _, g := range s.grpc {
		g.Stop()
	}
	s.mu.Unlock()
	e.Close()
}

// serve waits until the witness answers, and then until ctx or etcd ends.
func (s *Server) serve(ctx context.Context, e *embed.Etcd, ready func()) error {
	select {
	case <-e.Server.ReadyNotify():
	case <-ctx.Done():
		return nil
	case err := <-s.fatal:
		return err
	case err := <-e.Err():
		return fmt.Errorf("witness server: %w", err)
	case <-time.After(readyLimit):
		return damaged(s.cfg.DataDir, fmt.Sprintf("it does not answer after %v", readyLimit))
	}
	s.serving.Store(true)
	if err := s.freeSpace(ctx, e); err != nil && ctx.Err() == nil {
		return err
	}
	s.log.InfoContext(ctx, "witness serves", "listen", s.cfg.ListenClient, "data_dir", s.cfg.DataDir,
		"etcd_cluster_id", fmt.Sprintf("%x", uint64(e.Server.Cluster().ID())))
	ready()
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.fatal:
		return err
	case err := <-e.Err():
		return fmt.Errorf("witness server: %w", err)
	case <-e.Server.StopNotify():
		return errors.New("witness server: etcd stopped by itself: see its log lines above")
	}
}

// start starts etcd and tries again while its addresses cannot be had. It returns
// nil and no error when ctx ends before.
func (s *Server) start(ctx context.Context) (*embed.Etcd, error) {
	for told := ""; ; {
		e, err := s.startOnce()
		if !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EADDRINUSE) {
			return e, err
		}
		if err.Error() != told {
			told = err.Error()
			s.log.WarnContext(ctx, "witness cannot listen yet: it tries again until the address is there and free",
				"err", err, "retry", bindRetry)
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(bindRetry):
		}
	}
}

// startOnce runs StartEtcd in a goroutine of its own, because etcd answers a bad data directory with
// log.Fatal or a panic, which must become an error that names the directory.
func (s *Server) startOnce() (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				s.fail(fmt.Sprint(r))
			}
		}()
		e, err := embed.StartEtcd(s.etcdConfig())
		started <- result{e, err}
	}()
	select {
	case r := <-started:
		if op := (*net.OpError)(nil); errors.As(r.err, &op) {
			return nil, fmt.Errorf("start witness: %w", r.err)
		}
		if r.err != nil {
			return nil, damaged(s.cfg.DataDir, r.err.Error())
		}
		return r.etcd, nil
	case err := <-s.fatal:
		return nil, err
	}
}

// fail records the first reason for which etcd gave up.
func (s *Server) fail(why string) {
	select {
	case s.fatal <- damaged(s.cfg.DataDir, why):
	default:
	}
}
