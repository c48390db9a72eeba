package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/config"
	"github.com/solovip/solovip/control"
	"github.com/solovip/solovip/control/text"
	"github.com/solovip/solovip/lab/split"
	"github.com/solovip/solovip/node"
)

// Ports of a host whose configuration does not name others.
const (
	usualMeshPort    = 7946
	usualWitnessPort = 2379
)

// recovery is how long a node is followed after a cut, until it stands as it did before.
const recovery = 15 * time.Second

func splitCommand() *cli.Command {
	return &cli.Command{
		Name:  "split",
		Usage: "cut this host off from another one for a stated time, by firewall rules that end by themselves, and show what the node makes of it",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "block", Usage: "drop `KINDS` of traffic, with commas between: vrrp, mesh, witness, ip (but SSH), arp, all (ip and arp)"},
			&cli.StringSliceFlag{Name: "peer", Usage: "between this host and `HOST`: an address, or a name of the configuration or of DNS; may be given again"},
			&cli.DurationFlag{Name: "for", Usage: "for `TIME`, as 30s; the kernel ends it then, whatever becomes of this command"},
			&cli.BoolFlag{Name: "long", Usage: fmt.Sprintf("allow more than %v", split.LongAfter)},
			&cli.StringFlag{Name: "direction", Value: string(split.Both), Usage: "drop what comes in, goes out, or both: `WAY` is in, out or both"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print the rules as nft text and change nothing"},
			&cli.BoolFlag{Name: "end", Usage: "end a cut that is in force now"},
			&cli.StringFlag{Name: "use-file", Aliases: []string{"f"}, Value: defaultFile, Usage: "take names and ports from the configuration `FILE`"},
			configIDFlag(), runDirFlag(), yesFlag(),
		},
		Before: noArguments,
		Action: func(c *cli.Context) error {
			if c.Bool("end") {
				return endSplit(c)
			}
			cut, err := cutOf(c)
			if err != nil {
				return cli.Exit(err, exitUsage)
			}
			if c.Bool("dry-run") {
				_, err := fmt.Fprint(c.App.Writer, cut.Text())
				return err
			}
			return performSplit(c, cut)
		},
	}
}

func endSplit(c *cli.Context) error {
	left, err := split.InForce()
	if err != nil {
		return err
	}
	if err := split.End(); err != nil {
		return err
	}
	said := "no cut is in force"
	if left > 0 {
		said = fmt.Sprintf("ended: it had another %v", left.Round(time.Second))
	}
	_, err = fmt.Fprintln(c.App.Writer, said)
	return err
}

// cutOf turns the command line into a cut that spares the operator's session.
func cutOf(c *cli.Context) (split.Cut, error) {
	cut := split.Cut{Way: split.Way(c.String("direction")), For: c.Duration("for")}
	for kind := range strings.SplitSeq(c.String("block"), ",") {
		if kind = strings.TrimSpace(kind); kind != "" {
			cut.Block = append(cut.Block, split.Traffic(kind))
		}
	}
	switch {
	case len(cut.Block) == 0:
		return cut, errors.New("say what to drop: --block vrrp,mesh,witness")
	case len(c.StringSlice("peer")) == 0:
		return cut, errors.New("say between this host and whom: --peer HOST")
	case !c.IsSet("for"):
		return cut, errors.New("say for how long: --for 30s")
	case cut.For > split.LongAfter && !c.Bool("long"):
		return cut, fmt.Errorf("%v is a long time: give --long too when you mean it", cut.For)
	}
	cfg, err := splitConfig(c)
	if err != nil {
		return cut, err
	}
	cut.MeshPort, cut.WitnessPorts = splitPorts(cfg)
	var peers []netip.Addr // with zones
	for _, word := range c.StringSlice("peer") {
		found, err := peerAddrs(c.Context, cfg, word)
		if err != nil {
			return cut, err
		}
		peers = append(peers, found...)
	}
	for _, p := range peers {
		cut.Peers = append(cut.Peers, p.WithZone(""))
	}
	slices.SortFunc(cut.Peers, netip.Addr.Compare)
	cut.Peers = slices.Compact(cut.Peers)
	if slices.Contains(cut.Block, split.ARP) || slices.Contains(cut.Block, split.All) {
		if cut.Links, err = split.LinksTo(peers); err != nil {
			return cut, err
		}
	}
	ssh, err := split.FindSSH(os.Getenv("SSH_CONNECTION"))
	if err != nil {
		return cut, err
	}
	cut.SSH = ssh.Ports
	if err := cut.Validate(); err != nil {
		return cut, err
	}
	return cut, ssh.Survives(cut)
}

// splitConfig returns the configuration; nil when there is none at the usual place, as on
// a host that runs keepalived.
func splitConfig(c *cli.Context) (*config.Config, error) {
	file := c.String("use-file")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !c.IsSet("use-file") {
		return nil, nil //nolint:nilnil // none is an answer
	}
	return loadConfig(c, file)
}

// splitPorts returns the ports of the mesh and of the witness's members.
func splitPorts(cfg *config.Config) (mesh uint16, witness []uint16) {
	mesh = usualMeshPort
	if cfg != nil && cfg.Cluster != nil {
		mesh = cfg.Cluster.MeshPort
	}
	if cfg != nil && cfg.Witness != nil {
		for _, endpoint := range cfg.Witness.Endpoints {
			u, err := url.Parse(endpoint)
			if err != nil {
				continue // checked when it was loaded
			}
			if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
				witness = append(witness, uint16(port))
			}
		}
		slices.Sort(witness)
		witness = slices.Compact(witness)
	}
	if len(witness) == 0 {
		witness = []uint16{usualWitnessPort}
	}
	return mesh, witness
}

// peerAddrs returns the addresses of a host that is not this one.
func peerAddrs(ctx context.Context, cfg *config.Config, word string) ([]netip.Addr, error) {
	addrs, err := hostAddrs(ctx, cfg, word)
	if err != nil {
		return nil, err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this host's addresses: %w", err)
	}
	for _, a := range own {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && slices.ContainsFunc(addrs, func(p netip.Addr) bool { return p.WithZone("") == prefix.Addr() }) {
			return nil, fmt.Errorf("--peer %s is this host itself", word)
		}
	}
	return addrs, nil
}

func hostAddrs(ctx context.Context, cfg *config.Config, word string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	if cfg != nil && cfg.Cluster != nil {
		for _, m := range slices.Concat(cfg.Cluster.Nodes, cfg.Cluster.Witnesses) {
			if m.Name == word {
				return []netip.Addr{m.Addr}, nil
			}
		}
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", word)
	if err != nil {
		return nil, fmt.Errorf("--peer %s is no address, no name of the configuration, and: %w", word, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found, nil
}

// performSplit asks, cuts, follows the node until the time is over, and follows it back.
func performSplit(c *cli.Context, cut split.Cut) error {
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	f := follower{c: c}
	if err := f.say("before"); err != nil {
		return err
	}
	before := f.last
	ports := make([]string, len(cut.SSH))
	for i, p := range cut.SSH {
		ports[i] = strconv.Itoa(int(p))
	}
	effect := fmt.Sprintf("From now on, %s. SSH stays open (TCP %s).", cut, strings.Join(ports, ", "))
	if err := confirm(c, effect); err != nil {
		return err
	}
	if err := cut.Apply(); errors.Is(err, split.ErrInForce) {
		return fmt.Errorf("%w: wait, or end it by 'solovip split --end'", err)
	} else if err != nil {
		return err
	}
	f.begun = time.Now()
	if _, err := fmt.Fprintf(c.App.Writer, "cut off; the kernel ends it at %s\n", f.begun.Add(cut.For).Format(time.TimeOnly)); err != nil {
		return errors.Join(err, split.End())
	}
	during, cancel := context.WithTimeout(ctx, cut.For)
	defer cancel()
	err := f.follow(during, func(string) bool { return false })
	<-during.Done()
	if err := errors.Join(err, split.End()); err != nil {
		return err
	}
	said := "over"
	if ctx.Err() != nil {
		said = "ended before its time"
		stop() // one more signal ends this command at once
	}
	if _, err := fmt.Fprintf(c.App.Writer, "%s after %v\n", said, time.Since(f.begun).Round(time.Millisecond)); err != nil {
		return err
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), recovery)
	defer cancel()
	if err := f.follow(after, func(now string) bool { return now == before }); err != nil {
		return err
	}
	return f.say("after")
}

// follower prints what fence status says, when it says something else than before.
type follower struct {
	c     *cli.Context
	begun time.Time
	last  string // what was said last, in short; empty: no node answers
}

// say prints what the node says now.
func (f *follower) say(when string) error {
	client, err := control.Dial(f.c.String("run-dir"))
	var snap node.Snapshot
	if err == nil {
		snap, err = client.Snapshot(f.c.Context)
	}
	if err != nil {
		_, err := fmt.Fprintf(f.c.App.Writer, "--- %s: %v\n", when, err)
		return err
	}
	return f.print(when, snap)
}

func (f *follower) print(when string, snap node.Snapshot) error {
	f.last = inShort(snap)
	width, _ := terminalWidth(f.c.App.Writer)
	_, err := fmt.Fprintf(f.c.App.Writer, "--- %s\n%s\n", when, text.Fence(snap, width))
	return err
}

// follow prints each change until ctx ends, the node is gone, or enough says so of how it
// stands. Without a node there is nothing to follow.
func (f *follower) follow(ctx context.Context, enough func(string) bool) error {
	client, err := control.Dial(f.c.String("run-dir"))
	if err != nil {
		return nil //nolint:nilerr // said before
	}
	var failed error
	errEnough := errors.New("enough")
	_ = client.Watch(ctx, func(snap node.Snapshot) error { // a node that is gone is shown at the end
		now := inShort(snap)
		if now != f.last {
			if failed = f.print("after "+time.Since(f.begun).Round(100*time.Millisecond).String(), snap); failed != nil {
				return failed
			}
		}
		if enough(now) {
			return errEnough
		}
		return nil
	})
	return failed
}

// inShort returns what makes one status another one: how safe, and who holds what.
func inShort(s node.Snapshot) string {
	var b strings.Builder
	b.WriteString(string(s.Safety))
	for _, c := range s.Claims {
		fmt.Fprintf(&b, " %s:%s:%s:%v", c.Name, c.Phase, c.Holder, c.Fenced != nil)
	}
	return b.String()
}
