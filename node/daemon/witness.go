package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/mesh"
	"github.com/solovip/solovip/vrrp/vip"
	"github.com/solovip/solovip/witness/server"
)

// reportEvery is how often a witness tells the mesh that it is there.
const reportEvery = 200 * time.Millisecond

// RunWitness runs the witness of a cluster on its third host: a member of the mesh that
// votes and relays, and an etcd if the configuration has a witness block, until ctx ends.
func RunWitness(ctx context.Context, opt Options) error {
	cfg, err := loadConfig(opt)
	if err != nil {
		return err
	}
	self, err := witnessMember(cfg, opt.File)
	if err != nil {
		return err
	}
	kept, err := openStore(opt.StateDir, opt.Logger)
	if err != nil {
		return err
	}
	timing, err := Timing(cfg)
	if err != nil {
		return err
	}
	events := make(chan mesh.Event, eventQueue)
	work, workCtx := errgroup.WithContext(ctx)
	member, err := newMesh(cfg.Cluster, self, opt.Logger, func(ev mesh.Event) {
		select {
		case events <- ev:
		case <-workCtx.Done():
		}
	})
	if err != nil {
		return err
	}
	work.Go(func() error { return member.Run(workCtx) })
	v := voter{
		mesh: member, store: kept, log: opt.Logger,
		voter:  arbiter.NewVoter(self.Name, timing.Wait, boottime.Now(), kept.tokens()),
		report: arbiter.Report{Node: self.Name, Incarnation: kept.incarnation(), Witness: true},
	}
	work.Go(func() error { return v.run(workCtx, events) })
	ready := func() {
		opt.Logger.Info("witness ready", "name", self.Name, "cluster", cfg.Cluster.Name, "etcd", cfg.Witness != nil)
		if _, err := sd.SdNotify(false, sd.SdNotifyReady); err != nil {
			opt.Logger.Warn("telling systemd", "err", err)
		}
	}
	if cfg.Witness == nil {
		ready()
		return work.Wait()
	}
	s, err := newServer(cfg, self, opt)
	if err != nil {
		return err
	}
	work.Go(func() error { return s.Run(workCtx, ready) })
	return work.Wait()
}

// witnessMember finds which witness of the cluster this host is.
func witnessMember(cfg *config.Config, file string) (config.Member, error) {
	if cfg.Cluster == nil {
		return config.Member{}, fmt.Errorf("%s has no cluster block: a witness needs one that names it", file)
	}
	host, err := vip.LocalAddresses()
	if err != nil {
		return config.Member{}, err
	}
	self, isWitness, ok := cfg.Cluster.Host(host)
	switch {
	case !ok:
		return self, fmt.Errorf("%v: no witness of cluster %s has an address of this host (%s): add this host to the cluster block, or give it the address",
			cfg.Cluster.Pos, cfg.Cluster.Name, addressList(host))
	case !isWitness:
		return self, fmt.Errorf("%v: this host (%s, %v) is a node of cluster %s: run `solovip node` here, not `solovip witness`", self.Pos, self.Name, self.Addr, cfg.Cluster.Name)
	}
	return self, nil
}

// newServer makes the embedded etcd.
func newServer(cfg *config.Config, self config.Member, opt Options) (*server.Server, error) {
	host, err := vip.LocalAddresses()
	if err != nil {
		return nil, err
	}
	listen, err := server.Listeners(cfg.Witness.Endpoints, host)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", cfg.Witness.Pos, err)
	}
	return server.New(server.Config{
		Name: self.Name, Cluster: cfg.Cluster.Name, DataDir: filepath.Join(opt.StateDir, "etcd"), ListenClient: listen,
		CertFile: cfg.Witness.CertFile, KeyFile: cfg.Witness.CertKeyFile, CAFile: cfg.Witness.CAFile, Logger: opt.Logger,
	})
}

// voter is the witness's part in the mesh: it gives promises and says that it is there.
type voter struct {
	mesh   *mesh.Mesh
	voter  *arbiter.Voter
	store  *store
	report arbiter.Report
	log    *slog.Logger
}

func (v *voter) run(ctx context.Context, events <-chan mesh.Event) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case ev := <-events:
			v.take(ev)
		case <-tick.C:
			v.report.Seq++
			if err := v.mesh.Publish(v.report); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// take follows one event of the mesh.
func (v *voter) take(ev mesh.Event) {
	switch ev := ev.(type) {
	case mesh.Asked:
		answer, token := v.voter.Answer(boottime.Now(), ev.Request)
		if token != 0 && !v.remember(ev.Request.Claim, token) {
			return // silence is a no
		}
		v.mesh.Answer(answer)
	case mesh.ReportSeen:
		for claim, token := range v.voter.Hear(ev.Report) {
			v.remember(claim, token)
		}
	case mesh.MemberChanged:
		v.log.Info("mesh member", "name", ev.Name, "alive", ev.Alive)
	case mesh.Answered:
	}
}

// remember makes a token durable and reports whether it is.
func (v *voter) remember(claim string, token arbiter.Token) bool {
	err := v.store.setToken(claim, token)
	if err != nil {
		v.log.Error("a token cannot be stored; no promise is given with it", "claim", claim, "token", token, "err", err)
	}
	return err == nil
}
