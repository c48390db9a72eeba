package daemon

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/mesh"
	"github.com/solovip/solovip/node"
)

// newMesh makes the mesh member that self is in the cluster.
func newMesh(c *config.Cluster, self config.Member, log *slog.Logger, deliver func(mesh.Event)) (*mesh.Mesh, error) {
	cfg := mesh.Config{
		Name: self.Name, Cluster: c.Name, Bind: netip.AddrPortFrom(self.Addr, c.MeshPort),
		Insecure: c.Insecure, Logger: log, Deliver: deliver,
		// The loop publishes five times as often: one that hangs must not veto its successor.
		Lasts: time.Second,
	}
	for _, members := range [][]config.Member{c.Nodes, c.Witnesses} {
		for _, m := range members {
			if m.Name != self.Name {
				cfg.Peers = append(cfg.Peers, mesh.Peer{Name: m.Name, Addr: m.Addr})
			}
		}
	}
	if !c.Insecure {
		var err error
		if cfg.Key, err = mesh.LoadKey(c.KeyFile); err != nil {
			return nil, err
		}
	}
	return mesh.New(cfg)
}

// deliver turns what the mesh brings into events.
func (d *daemon) deliver(ev mesh.Event) {
	switch ev := ev.(type) {
	case mesh.ReportSeen:
		d.post(node.PeerReport{Report: ev.Report, Path: ev.Path})
	case mesh.Asked:
		d.post(node.PeerAsked{Request: ev.Request})
	case mesh.Answered:
		d.post(node.PeerAnswered{Answer: ev.Answer, Path: ev.Path})
	case mesh.MemberChanged:
		d.post(node.PeerAlive{Name: ev.Name, Alive: ev.Alive})
	}
}
