package netns

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/lab/disk"
	"github.com/solovip/solovip/lab/scenario"
	"github.com/solovip/solovip/lab/verify"
)

// player plays one job on the stage.
type player struct {
	job   Job
	seen  *observer
	net   *network
	setup setup

	listener net.Listener // for the guarded services' reports
	fifos    []*os.File
	sampler  *sampler
	watching *errgroup.Group
	cancel   context.CancelFunc

	random *rand.Rand // of the job's seed; used by the steps alone

	waited time.Duration // when the run was ready, see waiting

	loads sync.WaitGroup // under way

	mu   sync.Mutex // guards over
	over bool       // the scenario has been played: daemons may end
}

// How often the client asks, and how long an answer may take. Within a machine answers
// come in far less than a millisecond; what takes longer has waited for the machine.
const (
	arpEvery, arpPatience   = 2 * time.Millisecond, 20 * time.Millisecond
	udpEvery, udpPatience   = 2 * time.Millisecond, 100 * time.Millisecond
	httpEvery, httpWaitLong = 25 * time.Millisecond, httpPatience + 50*time.Millisecond
)

// setUp makes the network and the files of all hosts.
func (p *player) setUp() (err error) {
	s := p.job.Scenario
	if p.net, err = newNetwork(s.Hosts, s.VIP().Bits()); err != nil {
		return err
	}
	p.setup = setup{job: p.job, dir: p.job.Dir, report: filepath.Join(p.job.Dir, "service.sock")}
	if err := p.setup.prepare(); err != nil {
		return err
	}
	for _, h := range p.net.hosts {
		h.dir = filepath.Join(p.job.Dir, h.Name)
		for _, dir := range []string{h.dir, h.runDir(), h.stateDir()} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return fmt.Errorf("make a directory for %s: %w", h.Name, err)
			}
		}
		if err := p.store(h); err != nil {
			return err
		}
		if h.Role == scenario.Node {
			if err := p.setup.write(h); err != nil {
				return fmt.Errorf("write the configuration of %s: %w", h.Name, err)
			}
		}
		if h.Role == scenario.Node && p.setup.plays(scenario.Keepalived) {
			if err := p.minister(h); err != nil {
				return err
			}
		}
	}
	if p.listener, err = net.Listen("unix", p.setup.report); err != nil { //nolint:noctx // a local socket
		return fmt.Errorf("listen for the guarded services (a long TMPDIR is a reason): %w", err)
	}
	return nil
}

// store gives a host whose disk is to be filled a small one, and a member of an etcd a
// place for its data that, unlike tmpfs, takes nothing for what the member only sets
// aside: twice 64 MB.
func (p *player) store(h *host) error {
	if slices.ContainsFunc(p.job.Scenario.Steps, func(s scenario.Step) bool { return s.Do == scenario.Fill && s.Host == h.Name }) {
		if err := unix.Mount("tmpfs", h.stateDir(), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64k"); err != nil {
			return fmt.Errorf("mount a small file system on %s: %w", h.stateDir(), err)
		}
		return nil
	}
	if slices.ContainsFunc(p.job.Scenario.Steps, func(s scenario.Step) bool { return s.Do == scenario.SlowDisk && s.Host == h.Name }) {
		var err error
		h.disk, err = disk.Listen(p.setup.diskSocket(h))
		return err
	}
	if h.Role != scenario.Etcd || p.job.Keep {
		return nil
	}
	if err := unix.Mount("ramfs", h.stateDir(), "ramfs", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount a file system in memory on %s: %w", h.stateDir(), err)
	}
	return nil
}

// minister lets the host's service follow its keepalived.
func (p *player) minister(h *host) error {
	fifo, err := p.setup.openFIFO(h)
	if err != nil {
		return err
	}
	p.fifos = append(p.fifos, fifo)
	go func() {
		if err := p.setup.minister(h, fifo, func(instance, state string) {
			p.seen.says(Said{Node: h.Name, Instance: instance, State: state})
		}); err != nil {
			p.seen.mark(verify.Notice, h.Name, err.Error())
		}
	}()
	return nil
}

// watch starts the oracle. The context it returns ends when a part of it fails.
func (p *player) watch(ctx context.Context) (context.Context, error) {
	s := p.job.Scenario
	var nodes []*host
	for _, n := range s.Named(scenario.Node) {
		nodes = append(nodes, p.net.hosts[n.Name])
	}
	var vips []netip.Addr
	for _, c := range s.Claims {
		vips = append(vips, c.VIP.Addr())
	}
	var err error
	if p.sampler, err = newSampler(nodes, vips); err != nil {
		return nil, err
	}
	client := p.net.hosts[s.Named(scenario.Client)[0].Name]
	voices, err := p.voices(client)
	if err != nil {
		return nil, err
	}
	web := newHTTPVoice()
	ctx, p.cancel = context.WithCancel(ctx)
	p.watching, ctx = errgroup.WithContext(ctx)
	p.watching.Go(func() error { return p.sampler.run(ctx, p.seen, p.rarely(sampling)) })
	p.watching.Go(func() error { return newGateEye(nodes, vips).run(ctx, p.seen) })
	for _, h := range nodes {
		go p.seen.hear(ctx, h)
	}
	p.watching.Go(func() error { return web.work(ctx, client.ns, s.VIP().Addr()) })
	for _, a := range append(voices, asker{source: verify.HTTP, voice: web, every: httpEvery, patience: httpWaitLong}) {
		p.watching.Go(func() error { return a.run(ctx, p.seen) })
	}
	go p.hearServices()
	return ctx, nil
}

// rarely returns the time between two looks that are usually so far apart.
func (p *player) rarely(every time.Duration) time.Duration {
	return every * time.Duration(max(1, p.job.Rarer))
}

// voices opens the client's sockets: one for each VIP's ARP, and one for the service.
func (p *player) voices(client *host) ([]asker, error) {
	var voices []asker
	for i, c := range p.job.Scenario.Claims {
		v, err := p.arpVoice(client, c)
		if err != nil {
			return nil, err
		}
		voices = append(voices, asker{vip: i, source: verify.ARP, voice: v, every: p.rarely(arpEvery), patience: arpPatience})
	}
	var udp *udpVoice
	err := client.inside(func() (err error) {
		udp, err = newUDPVoice(p.job.Scenario.VIP().Addr())
		return err
	})
	return append(voices, asker{source: verify.UDP, voice: udp, every: p.rarely(udpEvery), patience: udpPatience}), err
}

// arpVoice opens the client's socket for the ARP of a claim's VIP.
func (p *player) arpVoice(client *host, c scenario.Claim) (voice, error) {
	// The address after the client's is the oracle's, for ARP only.
	from, link := client.Addr.Next(), p.job.Scenario.Link(c)
	if link == scenario.SecondLink {
		from = client.Second.Next()
	}
	var arp *arpVoice
	err := client.inside(func() (err error) {
		arp, err = newARPVoice(link, from, c.VIP.Addr())
		return err
	})
	if err != nil {
		return nil, err
	}
	arp.nodeOf, arp.announce = p.net.nodeOf, p.announced(c)
	if p.job.Scenario.Sets(scenario.InstanceBlock, "use_vmac") {
		return newSwitchVoice(arp, p.net.hosts)
	}
	return arp, nil
}

// announced returns a function that notes gratuitous ARP, when it is another node's than
// the one before.
func (p *player) announced(c scenario.Claim) func(node string) {
	last, what := "", "the VIP"
	if len(p.job.Scenario.Claims) > 1 {
		what += " of " + c.Name
	}
	return func(node string) {
		if node != last {
			p.seen.mark(verify.Notice, node, node+" announces "+what+" by gratuitous ARP")
		}
		last = node
	}
}

// hearServices records when guarded services run, until the listener is closed.
func (p *player) hearServices() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.hearService(conn)
	}
}

// hearService hears what connects to the oracle's socket: a guarded service, or a fence agent.
func (p *player) hearService(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	node, stopped := "", false
	for lines.Scan() {
		var order agentOrder
		if err := json.Unmarshal(lines.Bytes(), &order); err == nil && order.Agent != "" {
			_ = json.NewEncoder(conn).Encode(p.power(order)) // an agent that was killed meanwhile does not matter
			return
		}
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return
		}
		at := boottime.At(r.Boot).Sub(p.seen.begin)
		node = r.Node
		p.seen.record(func(rec *verify.Recorder) {
			rec.Until(verify.Service, node, at)
			if stopped = r.Event == "stop"; stopped {
				rec.Close(verify.Service, node, at)
			} else {
				rec.Open(verify.Service, node, at)
			}
		})
	}
	if node != "" && !stopped { // killed: it ran until just now
		at := p.seen.now()
		p.seen.record(func(rec *verify.Recorder) {
			rec.Until(verify.Service, node, at)
			rec.Close(verify.Service, node, at)
		})
	}
}

// stopWatching ends the oracle, which must have worked to the end, and returns the history.
func (p *player) stopWatching() (verify.History, error) {
	end := p.seen.now()
	p.cancel()
	err := p.watching.Wait()
	p.seen.record(func(rec *verify.Recorder) {
		for _, n := range p.job.Scenario.Named(scenario.Node) {
			rec.Until(verify.Service, n.Name, end) // still running, or closed already
		}
	})
	history := p.seen.history(end)
	if p.waited > 0 {
		history.Waiting = waiting() - p.waited
	}
	return history, err
}

// waiting returns for how long, since the machine started, some process waited for a
// processor; 0 where the kernel does not tell.
func waiting() time.Duration {
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	// some avg10=1.26 avg60=2.27 avg300=3.28 total=8912543
	var ten, minute, five float64
	var total int64
	if _, err := fmt.Sscanf(string(text), "some avg10=%f avg60=%f avg300=%f total=%d", &ten, &minute, &five, &total); err != nil {
		return 0
	}
	return time.Duration(total) * time.Microsecond
}

func (p *player) logs() []Log {
	var logs []Log
	for _, declared := range p.job.Scenario.Hosts {
		if h := p.net.hosts[declared.Name]; p.setup.command(h) != nil {
			logs = append(logs, h.log())
		}
	}
	return logs
}

func (p *player) close() {
	if p.cancel != nil {
		p.cancel()
	}
	if p.listener != nil {
		_ = p.listener.Close()
	}
	for _, f := range p.fifos {
		_ = f.Close()
	}
	if p.sampler != nil {
		p.sampler.close()
	}
	if p.net != nil {
		for _, h := range p.net.hosts {
			if h.disk != nil {
				_ = h.disk.Close()
			}
		}
		p.net.close()
	}
}
