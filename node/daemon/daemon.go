package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/fencing/gate"
	"github.com/solovip/solovip/fencing/ledger"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/internal/lanes"
	"github.com/solovip/solovip/mesh"
	"github.com/solovip/solovip/node"
	"github.com/solovip/solovip/vrrp/vip"
	"github.com/solovip/solovip/witness"
	"github.com/solovip/solovip/witness/etcd"
)

// Options says what to run.
type Options struct {
	File     string // the configuration
	RunDir   string // sockets, locks and run state; gone after a reboot
	StateDir string // tokens and the witness's data; must survive a reboot
	ConfigID string // for @id lines; empty: the host's name
	Logger   *slog.Logger
	Reload   <-chan struct{} // each value asks for a reload

	// Notify tells the service manager a state, as sd_notify(3) has it.
	Notify func(state string)
	// Beat tells who watches this process that its loop runs, each 200 ms.
	Beat func()
	// TakeOver asks the daemon to leave what it holds in place for a successor: Run returns
	// ErrLeft then.
	TakeOver <-chan struct{}
	// Pause is how long to wait between cleaning up and taking part.
	Pause time.Duration
}

// ErrConfig says that the configuration cannot be run; its findings have been logged.
var ErrConfig = errors.New("the configuration has errors")

// daemon is the shell around one node. The loop's goroutine alone uses node and settings.
type daemon struct {
	opt      Options
	log      *slog.Logger
	settings *settings
	node     *node.Node
	store    *store

	kernel      *vip.Kernel
	mesh        *mesh.Mesh   // nil without a cluster
	witness     *etcd.Client // nil without a witness
	adverts     map[string]*advertSocket
	guards      map[string]*guardSet
	observers   map[string]context.CancelFunc // of the begun claims
	retired     map[string]retired            // claims that a reload removes or changes, not yet let go
	lanes       *lanes.Lanes
	stopScripts context.CancelFunc
	gate        *gate.Gate // nil in the modes without a deadline
	dog         dog
	run         *runState
	cleaned     []string               // claims that were cleaned up behind a former run
	former      map[string]node.Former // those of them that were still on
	killed      []string               // guarded services that were stopped behind it
	left        *leftBehind            // what it has left in place; nil: nothing
	beaten      time.Time              // of the loop: when it last said that it runs
	up          map[string]bool        // tracked scripts, as last heard; of the loop
	ungated     map[string]error       // claims whose gate could not be armed, and why
	asleep      asleep
	ledger      *ledger.Ledger
	boot        string      // which boot of the host this is
	unwritten   atomic.Bool // the ledger cannot be written, and is tried again

	commands  commands
	events    chan node.Event
	appeared  chan vip.AddressEvent // addresses that came onto an interface
	snapshots chan chan node.Snapshot
	leaves    chan struct{} // closed when the process is to end as it is
	work      *errgroup.Group
	workCtx   context.Context //nolint:containedctx // the lifetime of everything that Run starts
}

// commands are the operators' commands that wait for the node's answer.
type commands struct {
	mu      sync.Mutex // guards the fields below
	last    uint64
	waiting map[uint64]chan response
}

// eventQueue bounds the events that wait for the loop. When it is full adverts are
// dropped, as the network may do; everything else waits.
const eventQueue = 1024

// stopLimit bounds an orderly stop: then the daemon ends with what it has.
const stopLimit = 90 * time.Second

// Run runs a node until ctx ends and everything held is released, or until
// something fails that nothing can be done about. It returns nil after an orderly stop. After
// ErrLeft alone something of it still runs.
func Run(ctx context.Context, opt Options) error {
	// The socket's lock keeps a second daemon with this run directory from starting:
	// two with one name would each believe that they are the node.
	socket, err := control.Listen(opt.RunDir)
	if err != nil {
		return err
	}
	d := newDaemon(opt)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	end := make(chan error, 1)
	go func() { end <- d.serve(ctx, work, cancel, socket) }()
	select {
	case err = <-end:
	case <-d.leaves:
		return ErrLeft
	}
	cancel()
	d.close()
	_ = socket.Close() // the server has closed it already, if it ever ran
	return err
}

// serve is Run between the opening of the socket and the closing of everything.
func (d *daemon) serve(ctx, work context.Context, cancel func(), socket net.Listener) error {
	if err := d.cleanUpFormer(work); err != nil {
		return err
	}
	d.work, d.workCtx = errgroup.WithContext(work)
	if err := d.open(); err != nil {
		return errors.Join(err, d.cleanUpBut(work, nil))
	}
	d.lanes = lanes.New(d.workCtx, d.work)
	if err := d.cleanUp(d.workCtx); err != nil {
		return err
	}
	server := control.Server{Snapshot: d.snapshot, Handover: d.handover, Standby: d.standby, TrustWitness: d.trustWitness, Fence: d.fence, ClearFence: d.clearFence, Logger: d.log}
	d.work.Go(func() error { return server.Serve(d.workCtx, socket) })
	d.startAdapters()
	d.work.Go(func() error {
		defer cancel() // the loop's end is everybody's
		return d.loop(ctx)
	})
	err := d.work.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

func newDaemon(opt Options) *daemon {
	return &daemon{
		opt: opt, log: opt.Logger,
		asleep:    asleep{before: boottime.Suspended()},
		adverts:   map[string]*advertSocket{},
		guards:    map[string]*guardSet{},
		observers: map[string]context.CancelFunc{},
		retired:   map[string]retired{},
		ungated:   map[string]error{},
		commands:  commands{waiting: map[uint64]chan response{}},
		events:    make(chan node.Event, eventQueue),
		appeared:  make(chan vip.AddressEvent),
		snapshots: make(chan chan node.Snapshot),
		leaves:    make(chan struct{}),
		former:    map[string]node.Former{},
		up:        map[string]bool{},
	}
}

// open loads the configuration and opens what a node needs; nothing runs yet. What was left in
// place and is not adopted goes.
func (d *daemon) open() error {
	cfg, err := loadConfig(d.opt)
	if err != nil {
		return err
	}
	if d.store, err = openStore(d.opt.StateDir, d.log); err != nil {
		return err
	}
	host, err := vip.LocalAddresses()
	if err != nil {
		return err
	}
	if d.settings, err = plan(cfg, host, d.store.incarnation(), d.store.tokens()); err != nil {
		return err
	}
	d.setSources(d.settings)
	d.settings.node.Left, d.settings.node.Standby = d.store.flags()
	d.settings.node.Trusted = d.store.witness()
	d.settings.node.Fenced = d.openLedger()
	d.settings.node.ShotJitter = d.settings.shotJitter()
	d.settings.node.Kept = d.adoptable()
	if err := d.cleanUpBut(d.workCtx, sortedKeys(d.settings.node.Kept)); err != nil {
		return err
	}
	d.settings.node.Former = d.former
	if d.node, err = node.New(d.settings.node); err != nil {
		return err
	}
	if err := d.openCluster(); err != nil {
		return err
	}
	return d.openGate()
}

// gateName is the name of the gate's nftables tables.
const gateName = "solovip"

// openGate opens the gate in the modes where a holding has a deadline. In the others one that
// a former run has left goes.
func (d *daemon) openGate() error {
	var err error
	m := d.settings.node.Mode
	if d.settings.node.ByLifetime {
		d.log.Warn("gate lifetime: when this process is frozen or killed an address goes by its lifetime, and take-overs wait for that", "late", vip.LifetimeLate)
	}
	if m != arbiter.ModeLease && m != arbiter.ModeQuorum || d.settings.node.ByLifetime {
		if d.gate != nil {
			err, d.gate = d.gate.Close(), nil
		}
		return err
	}
	if d.gate == nil { // else it was opened to clean up
		d.gate, err = gate.Open(gateName, d.log)
	}
	if err == nil {
		d.armAdopted()
		err = d.hush()
	}
	if err != nil {
		return fmt.Errorf("mode %v needs the gate, by which the kernel silences a VIP in time: %w: load the module nf_tables, and give this process CAP_NET_ADMIN; "+
			"where there is no nf_tables, write fencing { gate lifetime }", m, err)
	}
	return nil
}

// hush has nobody find an address here that this node might hold, and does not: what somebody
// puts on by hand is taken off at once, but not before the kernel could answer for it.
func (d *daemon) hush() error {
	if d.gate == nil {
		return nil
	}
	var all []netip.Addr
	for _, name := range sortedKeys(d.settings.claims) {
		all = append(all, gated(d.settings.claims[name].addresses)...)
	}
	return d.gate.Hush(all)
}

// loadConfig reads the configuration and logs its findings.
func loadConfig(opt Options) (*config.Config, error) {
	cfg, report := config.Load(opt.File, config.Options{ConfigID: opt.ConfigID})
	for _, f := range report.Findings {
		level := slog.LevelWarn
		if f.Severity == config.Error {
			level = slog.LevelError
		}
		opt.Logger.Log(context.Background(), level, "configuration", "at", f.Pos.String(), "finding", f.Text, "remedy", f.Remedy)
	}
	if report.HasErrors() {
		return nil, fmt.Errorf("%s: %w: `solovip config check %s` shows them", opt.File, ErrConfig, opt.File)
	}
	return cfg, nil
}

// setSources fills in which address each instance's adverts come from, if it is known yet.
func (d *daemon) setSources(s *settings) {
	for i := range s.node.Claims {
		for j := range s.node.Claims[i].Instances {
			in := &s.node.Claims[i].Instances[j]
			set := s.instances[in.VRRP.Name]
			in.Address = set.socket.Source
			if !in.Address.IsValid() {
				if a, err := vip.PrimaryIPv4(set.socket.Interface, vips(set.addresses)...); err == nil {
					in.Address = a
				}
			}
			in.VRRP.Source = in.Address
		}
	}
}

// openCluster makes the mesh and the witness's client, if there is a cluster.
func (d *daemon) openCluster() error {
	c := d.settings.config.Cluster
	if c == nil {
		return nil
	}
	var err error
	if d.mesh, err = newMesh(c, d.settings.self, d.log, d.deliver); err != nil {
		return err
	}
	if w := d.settings.config.Witness; w != nil {
		d.witness, err = etcd.New(etcd.Config{
			Endpoints: w.Endpoints, CAFile: w.CAFile, CertFile: w.CertFile, KeyFile: w.CertKeyFile,
			Cluster: c.Name, Timeout: d.settings.node.Timing.Renew, Logger: d.log,
		})
	}
	return err
}

// startAdapters starts everything that brings events.
func (d *daemon) startAdapters() {
	d.work.Go(func() error { return d.checkAgents(d.workCtx) })
	d.work.Go(func() error { return d.kernel.Watch(d.workCtx, d.linkChanged) })
	if d.gate != nil {
		d.work.Go(func() error { d.gate.Watch(d.workCtx); return nil })
	}
	if d.mesh != nil {
		d.work.Go(func() error { return d.mesh.Run(d.workCtx) })
	}
	if d.witness != nil {
		d.work.Go(func() error {
			return d.witness.Watch(d.workCtx, func(o witness.Observation) { d.post(node.WitnessSeen{Observation: o}) })
		})
	}
}

func (d *daemon) close() {
	if d.ledger != nil {
		if err := d.ledger.Close(); err != nil {
			d.log.Error("closing the ledger of fencings", "err", err)
		}
	}
	d.closeWatchdog()
	for _, s := range d.adverts {
		s.close()
	}
	for _, g := range d.guards {
		g.close()
	}
	if d.witness != nil {
		d.witness.Close()
	}
	if d.gate != nil {
		if err := d.gate.Close(); err != nil {
			d.log.Warn("closing the gate: VIPs stay silent until solovip runs again, or `nft delete table inet solovip` and `nft delete table arp solovip`", "err", err)
		}
	}
	if d.kernel != nil {
		if err := d.kernel.Close(); err != nil {
			d.log.Warn("closing the kernel's sockets", "err", err)
		}
	}
}

// post brings an event to the loop; it waits while the queue is full.
func (d *daemon) post(ev node.Event) {
	select {
	case d.events <- ev:
	case <-d.workCtx.Done():
	}
}

// snapshot asks the loop for a snapshot; it blocks as long as the loop does.
func (d *daemon) snapshot() node.Snapshot {
	reply := make(chan node.Snapshot, 1)
	select {
	case d.snapshots <- reply:
		return <-reply
	case <-d.workCtx.Done():
		return node.Snapshot{}
	}
}
