package config

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/solovip/solovip/config/syntax"
	"github.com/solovip/solovip/internal/nearest"
)

// The defaults of our blocks.
const (
	defaultMeshPort   = 7946
	defaultClearAfter = 30 * time.Second
	maxName           = 63
)

// shortName returns a host name up to its first dot.
func shortName(host string) string {
	host, _, _ = strings.Cut(host, ".")
	return host
}

// fields calls f for each keyword of a block of ours. A keyword that is there twice is an
// error unless it is in repeat, and so is a word behind its value unless it is in lists.
func (l *loader) fields(block *syntax.Node, repeat, lists []string, f func(n *syntax.Node, w syntax.Word)) {
	seen := make(map[string]bool)
	for _, n := range l.good(block) {
		k := n.Keyword()
		if seen[k] && !slices.Contains(repeat, k) {
			l.fail(head(n), "take one of the two out", "%s is given twice", k)
			continue
		}
		seen[k] = true
		if args := n.Args(); len(args) > 1 && !slices.Contains(lists, k) {
			l.fail(args[1], "put a value with blanks in double quotes", "%s takes one value", k)
			continue
		}
		f(n, n.Args()[0])
	}
}

// once reports whether a block of ours is the first of its kind, and adds an error if not.
func (l *loader) once(block *syntax.Node, before bool) bool {
	if before {
		l.fail(head(block), "make one of the two", "%s is there twice", block.Keyword())
	}
	return !before
}

// plainName checks a name that becomes part of file names, keys and labels.
func (l *loader) plainName(w syntax.Word, what string) bool {
	letters := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	if w.Text == "" || len(w.Text) > maxName || strings.Trim(w.Text, letters) != "" || w.Text[0] == '.' {
		l.fail(w, "use letters, digits, - and _, 63 at most", "%s %s is no name", what, quote(w.Text))
		return false
	}
	return true
}

// readCluster reads the cluster block.
func (l *loader) readCluster(block *syntax.Node) {
	if !l.once(block, l.cfg.Cluster != nil) {
		return
	}
	name := block.Args()[0]
	c := &Cluster{Name: name.Text, MeshPort: defaultMeshPort, Pos: name.Pos}
	l.cfg.Cluster = c
	l.plainName(name, "cluster")
	l.fields(block, []string{"node", "witness"}, []string{"node", "witness"}, func(n *syntax.Node, w syntax.Word) {
		switch n.Keyword() {
		case "node":
			l.readMember(c, n, &c.Nodes)
		case "witness":
			l.readMember(c, n, &c.Witnesses)
		case "mesh_port":
			if v, ok := l.number(Error, "mesh_port", w, 1, 65535, "the mesh has no port"); ok {
				c.MeshPort = uint16(v)
			}
		case "key_file":
			c.KeyFile = w.Text
			l.absolute(w, "key_file")
		case "insecure":
			c.Insecure = l.onOff(n, w)
		}
	})
	nodes := 0
	for _, n := range block.Children {
		if nearest.Word(n.Keyword(), []string{"node"}) != "" {
			nodes++
		}
	}
	if nodes < 2 {
		l.fail(name, "write node NAME ADDRESS for each balancer", "cluster %s has %d node, and needs two at least", quote(c.Name), nodes)
	}
	switch {
	case c.KeyFile == "" && !c.Insecure && !l.anyBad(block, "key_file", "insecure"):
		l.fail(name, "make one with `solovip keygen`, copy it to all nodes and write key_file /etc/solovip/mesh.key",
			"cluster %s has no key_file: the mesh would not be encrypted", quote(c.Name))
	case c.KeyFile != "" && c.Insecure:
		l.fail(name, "take one of the two out", "cluster %s has a key_file and insecure on", quote(c.Name))
	case c.Insecure:
		l.warn(name, "make a key with `solovip keygen` and name it by key_file", "the mesh is not encrypted: who can reach its port can forge evidence")
	}
}

// anyBad reports whether one of the keywords is in the block but was found wrong, so that
// its absence need not be told too.
func (l *loader) anyBad(block *syntax.Node, keywords ...string) bool {
	return slices.ContainsFunc(block.Children, func(n *syntax.Node) bool {
		return l.bad[n] && nearest.Word(n.Keyword(), keywords) != ""
	})
}

// readMember reads node NAME ADDRESS or witness NAME ADDRESS.
func (l *loader) readMember(c *Cluster, n *syntax.Node, to *[]Member) {
	args := n.Args()
	if len(args) != 2 {
		l.fail(args[len(args)-1], "write "+n.Keyword()+" NAME ADDRESS", "%s takes a name and an address", n.Keyword())
		return
	}
	if !l.plainName(args[0], n.Keyword()) {
		return
	}
	a, err := netip.ParseAddr(args[1].Text)
	if err != nil || a.IsUnspecified() || a.IsMulticast() {
		l.fail(args[1], "write the address of the host, without a prefix", "%s %s: %s is no address of a host", n.Keyword(), args[0].Text, quote(args[1].Text))
		return
	}
	m := Member{Name: args[0].Text, Addr: a.Unmap(), Pos: args[0].Pos}
	for _, o := range slices.Concat(c.Nodes, c.Witnesses) {
		switch {
		case o.Name == m.Name:
			l.fail(args[0], "give each member a name of its own", "%s is a member already, at %s", quote(m.Name), o.Pos)
			return
		case o.Addr == m.Addr:
			l.fail(args[1], "a witness needs a host of its own, and a node its own address", "%s is the address of %s already", m.Addr, quote(o.Name))
			return
		}
	}
	*to = append(*to, m)
}

// onOff reads a BOOL in a block of ours.
func (l *loader) onOff(n *syntax.Node, w syntax.Word) bool {
	switch w.Text {
	case "on", "true", "yes":
		return true
	case "off", "false", "no":
		return false
	}
	l.fail(w, "write on or off", "%s %s is neither on nor off", n.Keyword(), quote(w.Text))
	return false
}

// absolute checks that a file is named from the root: the daemon's working directory is not
// the operator's.
func (l *loader) absolute(w syntax.Word, what string) {
	if !strings.HasPrefix(w.Text, "/") {
		l.fail(w, "write the whole path, from / on", "%s %s is not an absolute path", what, quote(w.Text))
	}
}

// readWitness reads the witness block.
func (l *loader) readWitness(block *syntax.Node) {
	if !l.once(block, l.cfg.Witness != nil) {
		return
	}
	wit := &Witness{Timing: Timing{Name: "auto", Pos: block.Pos()}, Pos: block.Pos()}
	l.cfg.Witness = wit
	var cert, key syntax.Word
	l.fields(block, []string{"endpoints"}, []string{"endpoints", "timing"}, func(n *syntax.Node, w syntax.Word) {
		switch n.Keyword() {
		case "endpoints":
			for _, e := range n.Args() {
				l.readEndpoint(wit, e)
			}
		case "ca_file":
			wit.CAFile = w.Text
			l.absolute(w, "ca_file")
		case "cert_file":
			wit.CertFile, cert = w.Text, w
			l.absolute(w, "cert_file")
		case "cert_key_file":
			wit.CertKeyFile, key = w.Text, w
			l.absolute(w, "cert_key_file")
		case "timing":
			l.readTiming(wit, n.Args())
		}
	})
	switch {
	case wit.CertFile != "" && wit.CertKeyFile == "":
		l.fail(cert, "write cert_key_file too", "cert_file without cert_key_file")
	case wit.CertFile == "" && wit.CertKeyFile != "":
		l.fail(key, "write cert_file too", "cert_key_file without cert_file")
	}
	if len(wit.Endpoints) == 0 && !slices.ContainsFunc(block.Children, func(n *syntax.Node) bool { return n.Keyword() == "endpoints" }) {
		l.fail(head(block), "write endpoints https://ADDRESS:2379", "witness without endpoints")
	}
	if l.cfg.Cluster == nil {
		l.fail(head(block), "write cluster NAME { ... } with the nodes", "witness without a cluster block: it is not known who the nodes are")
	}
}

// readEndpoint reads one URL of etcd.
func (l *loader) readEndpoint(wit *Witness, w syntax.Word) {
	u, err := url.Parse(w.Text)
	port := 0
	if err == nil {
		port, _ = strconv.Atoi(u.Port()) // 0: none
	}
	switch {
	case strings.ContainsAny(w.Text, ",;"):
		l.fail(w, "part them by blanks", "endpoints %s: one URL at a time", quote(w.Text))
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		l.fail(w, "write https://ADDRESS:2379", "endpoints %s is no URL of etcd", quote(w.Text))
	case port < 1 || port > 65535:
		l.fail(w, "write the port too: "+strings.TrimRight(w.Text, "/:")+":2379", "endpoints %s has no port", quote(w.Text))
	case slices.Contains(wit.Endpoints, w.Text):
		l.fail(w, "take one of the two out", "endpoints %s is given twice", quote(w.Text))
	default:
		if u.Scheme == "http" {
			l.warn(w, "use https, with ca_file, cert_file and cert_key_file", "the witness is asked without encryption: who can reach it can take any claim")
		}
		wit.Endpoints = append(wit.Endpoints, strings.TrimRight(w.Text, "/"))
	}
}

// readTiming reads auto, fast, wan or three times. Whether they are safe is for the node to
// compute: it knows how late it can be.
func (l *loader) readTiming(wit *Witness, args []syntax.Word) {
	wit.Timing.Pos = args[0].Pos
	names := []string{"auto", "fast", "wan"}
	remedy := "write auto, fast, wan, or three times in seconds: renew, hold and wait, for instance 0.7 2.8 3"
	switch {
	case len(args) == 1 && slices.Contains(names, args[0].Text):
		wit.Timing.Name = args[0].Text
		return
	case len(args) == 1:
		if near := didYouMean(args[0].Text, names); near != "" {
			remedy = near
		}
		l.fail(args[0], remedy, "unknown timing %s", quote(args[0].Text))
		return
	case len(args) != 3:
		l.fail(args[len(args)-1], remedy, "timing takes a name or three times")
		return
	}
	wit.Timing.Name = "custom"
	for i, to := range []*time.Duration{&wit.Timing.Renew, &wit.Timing.Hold, &wit.Timing.Wait} {
		t, ok := l.seconds(Error, "timing", args[i], 10*time.Millisecond, time.Hour, "it cannot be used")
		if !ok {
			return
		}
		*to = t
	}
	if t := wit.Timing; t.Renew >= t.Hold || t.Hold >= t.Wait {
		l.fail(args[0], remedy, "timing %s %s %s: renew must be shorter than hold, and hold shorter than wait",
			inSeconds(t.Renew), inSeconds(t.Hold), inSeconds(t.Wait))
	}
}

// claim checks that an instance or a sync group of that name exists.
func (l *loader) claim(w syntax.Word) {
	var names []string
	for _, d := range l.drafts {
		names = append(names, d.Name)
	}
	for _, g := range l.groups {
		names = append(names, g.Name)
	}
	if slices.Contains(names, w.Text) {
		return
	}
	remedy := didYouMean(w.Text, names)
	if remedy == "" && len(names) > 0 {
		remedy = "write one of: " + strings.Join(names[:min(len(names), 8)], ", ")
	}
	l.fail(w, remedy, "there is no vrrp_instance and no vrrp_sync_group %s", quote(w.Text))
}

// fencingDefaults sets what holds without a fencing block.
func (l *loader) fencingDefaults() {
	l.cfg.Fencing = Fencing{OnIsolation: IsolationClaim, ClearAfter: defaultClearAfter}
}

// readFencing reads the fencing block.
func (l *loader) readFencing(block *syntax.Node) {
	if !l.once(block, l.fencing != nil) {
		return
	}
	l.fencing = block
	f := &l.cfg.Fencing
	f.Pos = block.Pos()
	isolation := head(block)
	l.fields(block, []string{"agent"}, []string{"watchdog"}, func(n *syntax.Node, w syntax.Word) {
		switch n.Keyword() {
		case "on_isolation":
			isolation = w
			l.readIsolation(f, w)
		case "reference":
			a, err := netip.ParseAddr(w.Text)
			if err != nil || a.IsUnspecified() || a.IsMulticast() {
				l.fail(w, "write the address of a router, without a prefix", "reference %s is no address of a host", quote(w.Text))
				return
			}
			f.Reference = a.Unmap()
		case "watchdog":
			l.readWatchdog(f, n.Args())
		case "gate":
			l.readGate(f, w)
		case "agent":
			l.readAgent(f, n)
		case "clear_after":
			if w.Text == "manual" {
				f.ClearAfter = 0
				return
			}
			if t, ok := l.seconds(Error, "clear_after", w, time.Millisecond, 24*time.Hour, "write manual if nothing is to clear it"); ok {
				f.ClearAfter = t
			}
		}
	})
	if f.OnIsolation == IsolationFence && len(f.Agents) == 0 && !l.anyBad(block, "agent") {
		l.fail(isolation, "write agent NAME { ... }", "on_isolation fence without an agent: nothing can fence")
	}
}

// defaultWatchdog is the first watchdog of a machine.
const defaultWatchdog = "/dev/watchdog"

// readWatchdog reads watchdog off | [preferred | required] [DEVICE].
func (l *loader) readWatchdog(f *Fencing, args []syntax.Word) {
	dog := Watchdog{Mode: WatchdogPreferred, Device: defaultWatchdog}
	words := map[string]WatchdogMode{"off": WatchdogOff, "preferred": WatchdogPreferred, "required": WatchdogRequired}
	mode, named := words[args[0].Text]
	if named {
		dog.Mode, args = mode, args[1:]
	}
	switch {
	case len(args) > 1 || len(args) > 0 && named && mode == WatchdogOff:
		l.fail(args[len(args)-1], "write watchdog required "+defaultWatchdog, "watchdog takes off, or required or preferred and a device")
		return
	case len(args) == 1:
		dog.Device = args[0].Text
		if !strings.HasPrefix(dog.Device, "/") {
			remedy := didYouMean(dog.Device, slices.Sorted(maps.Keys(words)))
			if remedy == "" {
				remedy = "write off, preferred or required, then the whole path of the device, from / on"
			}
			l.fail(args[0], remedy, "watchdog %s is neither a mode nor an absolute path", quote(dog.Device))
			return
		}
	}
	if dog.Mode != WatchdogOff {
		f.Watchdog = dog
	}
}

// readIsolation reads on_isolation.
func (l *loader) readIsolation(f *Fencing, w syntax.Word) {
	switch w.Text {
	case "hold":
		f.OnIsolation = IsolationHold
	case "claim":
		f.OnIsolation = IsolationClaim
	case "fence":
		f.OnIsolation = IsolationFence
	default:
		l.fail(w, "write hold, claim or fence", "unknown on_isolation %s", quote(w.Text))
	}
}

// readGate reads gate. Whether the mode allows to do without is for finishGate: the
// cluster block may come later.
func (l *loader) readGate(f *Fencing, w syntax.Word) {
	l.gate = w
	switch w.Text {
	case "on", "true", "yes":
		f.Gate = GateOn
	case "lifetime":
		f.Gate = GateLifetime
	case "off", "false", "no":
		f.Gate = GateOff
	default:
		l.fail(w, "write on, lifetime or off", "unknown gate %s", quote(w.Text))
	}
}

// finishGate refuses to do without the gate where a holding ends by it. Where an address
// stops at its deadline by nothing, the other node takes it while it is still answered for.
func (l *loader) finishGate() {
	if l.cfg.Fencing.Gate == GateOff && l.cfg.Permits() {
		l.fail(l.gate, "write gate lifetime: then an address goes by its lifetime, up to 1.3 s late, and take-overs wait for that; "+
			"or gate on, with nf_tables in the kernel", "gate off: nothing would silence an address of a daemon that is frozen or killed")
	}
}
