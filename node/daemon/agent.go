package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/fencing/agent"
	"github.com/solovip/solovip/node"
)

// maxShotJitter bounds what chance adds to the wait before a shot: well below the head start.
const maxShotJitter = time.Second

// planAgents sets how long a shot waits, if agents are to shoot in isolation.
func (s *settings) planAgents() {
	for _, a := range s.config.Fencing.Agents {
		s.node.ShotDelay = max(s.node.ShotDelay, a.Delay)
	}
}

// shotJitter is what chance adds to this start's shots.
func (s *settings) shotJitter() time.Duration {
	if len(s.config.Fencing.Agents) == 0 {
		return 0
	}
	return rand.N(maxShotJitter)
}

// agents returns the fence agents that switch a peer off, in the order to try them.
func (d *daemon) agents(peer string) []*agent.Agent {
	var all []*agent.Agent
	for _, a := range d.settings.config.Fencing.Agents {
		if a.Node == "" || a.Node == peer {
			all = append(all, newAgent(a, peer))
		}
	}
	return all
}

func newAgent(a config.Agent, peer string) *agent.Agent {
	cfg := agent.Config{Program: a.Name, Target: peer, Reboot: a.Reboot, Retries: a.Retries, Timeout: a.Timeout, Verify: a.Verify}
	for _, p := range a.Parameters {
		cfg.Parameters = append(cfg.Parameters, agent.Parameter{Key: p.Key, Value: p.Value})
	}
	return agent.New(cfg)
}

// errNoAgent says that nobody can switch a node off.
var errNoAgent = errors.New("no agent block is for this node")

// shoot has a peer switched off, beside the loop, by the first agent that can show it to be.
func (d *daemon) shoot(a node.ShootPeer) {
	agents := d.agents(a.Peer)
	d.work.Go(func() error {
		err := errNoAgent
		for _, one := range agents {
			if err = one.Off(d.workCtx); err == nil {
				break
			}
			d.log.Error("a fence agent could not switch a node off", "node", a.Peer, "agent", one.Program(), "err", err)
		}
		d.post(node.PeerShot{Peer: a.Peer, Err: err})
		return nil
	})
}

// checkAgents asks each agent, at the start, whether it could do its work: on the day that it is
// needed is too late.
func (d *daemon) checkAgents(ctx context.Context) error {
	for _, peer := range d.settings.node.Peers {
		agents := d.agents(peer)
		if len(agents) == 0 && len(d.settings.config.Fencing.Agents) > 0 {
			d.log.Warn("no fence agent can switch this node off", "node", peer)
		}
		for _, one := range agents {
			err := one.Check(ctx)
			if err == nil {
				var state agent.State
				if state, err = one.Status(ctx); err == nil && state == agent.Off {
					err = fmt.Errorf("its status is %v", state)
				}
			}
			if err != nil {
				d.log.Warn("a fence agent is not fit for use", "node", peer, "agent", one.Program(), "err", err)
				continue
			}
			d.log.Info("a fence agent answers", "node", peer, "agent", one.Program())
		}
	}
	return nil
}
