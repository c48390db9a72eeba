package config

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/solovip/solovip/config/syntax"
)

// The bounds of what IPVS takes.
const (
	maxLVSTimeout = 31 * 24 * time.Hour // also of persistence_timeout
	syncPort      = 8848
	maxSyncLen    = 65507
	defaultWeight = 1
	maxWeight     = 65535
	maxMark       = math.MaxUint32
	maxThreshold  = math.MaxInt32 // what the kernel takes, of 32 bits
)

// syncDraft is a sync daemon whose instance is not looked up yet.
type syncDraft struct {
	SyncDaemon
	instance syntax.Word
	id       bool // given
}

// readLVSGlobal reads the keywords of global_defs about virtual servers. It returns false
// for another keyword.
func (l *loader) readLVSGlobal(n *syntax.Node) bool {
	g := &l.cfg.LVS
	switch n.Keyword() {
	case "lvs_flush":
		g.Flush = true
	case "lvs_flush_on_stop":
		g.FlushOnStop = FlushAll
		if args := n.Args(); len(args) > 0 {
			if g.FlushOnStop = FlushServices; args[0].Text != "VS" {
				g.FlushOnStop = FlushOwn
				l.warn(args[0], "write VS, or nothing", "lvs_flush_on_stop takes no %s: it is ignored", quote(args[0].Text))
			}
		}
	case "lvs_timeouts":
		l.readTimeouts(n)
	case "lvs_sync_daemon":
		l.readSync(n)
	case "checker_log_all_failures":
		if on, ok := l.boolean(n); ok {
			g.LogAllFailures = on
		}
	case "rs_init_notifies":
		g.InitNotifies = true
	default:
		return false
	}
	return true
}

// readTimeouts reads lvs_timeouts [tcp S] [tcpfin S] [udp S].
func (l *loader) readTimeouts(n *syntax.Node) {
	names := []string{"tcp", "tcpfin", "udp"}
	to := []*time.Duration{&l.cfg.LVS.Timeouts.TCP, &l.cfg.LVS.Timeouts.TCPFin, &l.cfg.LVS.Timeouts.UDP}
	for args := n.Args(); len(args) > 0; args = args[1:] {
		i := slices.Index(names, args[0].Text)
		if i < 0 {
			l.warn(args[0], didYouMean(args[0].Text, names), "lvs_timeouts knows tcp, tcpfin and udp: %s is ignored", quote(args[0].Text))
			continue
		}
		if len(args) == 1 {
			l.warn(args[0], "write a number of seconds behind it", "lvs_timeouts %s without a value: it is ignored", args[0].Text)
			break
		}
		args = args[1:]
		if v, ok := l.number(Warning, names[i], args[0], 0, int(maxLVSTimeout/time.Second), "it is ignored"); ok {
			*to[i] = time.Duration(v) * time.Second
		}
	}
}

// readSync reads lvs_sync_daemon INTERFACE [[inst] INSTANCE] [id N] [maxlen N] [port N]
// [ttl N] [group ADDRESS].
func (l *loader) readSync(n *syntax.Node) {
	options := []string{"inst", "id", "maxlen", "port", "ttl", "group"}
	args := n.Args()
	if l.sync != nil {
		l.warn(head(n), "take one of the two out", "lvs_sync_daemon is given twice: the last one is used")
	}
	d := &syncDraft{SyncDaemon: SyncDaemon{
		Interface: args[0].Text, Port: syncPort, TTL: 1,
		Group: netip.MustParseAddr("224.0.0.81"), Pos: args[0].Pos,
	}}
	l.sync = d
	args = args[1:]
	if len(args) > 0 && !slices.Contains(options, args[0].Text) {
		d.instance, args = args[0], args[1:]
	}
	for ; len(args) > 0; args = args[1:] {
		name := args[0]
		switch {
		case !slices.Contains(options, name.Text):
			l.warn(name, didYouMean(name.Text, options), "lvs_sync_daemon knows no %s: it is ignored", quote(name.Text))
			continue
		case len(args) == 1:
			l.warn(name, "write its value behind it", "%s without a value: it is ignored", name.Text)
			return
		}
		args = args[1:]
		l.syncOption(d, name.Text, args[0])
	}
}

// syncOption reads one option of lvs_sync_daemon.
func (l *loader) syncOption(d *syncDraft, name string, w syntax.Word) {
	switch name {
	case "inst":
		d.instance = w
	case "id":
		if v, ok := l.number(Warning, "id", w, 0, 255, "that of the instance is used"); ok {
			d.ID, d.id = uint8(v), true
		}
	case "maxlen":
		if v, ok := l.number(Warning, name, w, 1, maxSyncLen, "it is ignored"); ok {
			d.MaxLen = uint16(v)
		}
	case "port":
		if v, ok := l.number(Warning, name, w, 1, 65535, "8848 is used"); ok {
			d.Port = uint16(v)
		}
	case "ttl":
		if v, ok := l.number(Warning, name, w, 1, 255, "1 is used"); ok {
			d.TTL = uint8(v)
		}
	case "group":
		a, err := netip.ParseAddr(w.Text)
		if err != nil || !a.IsMulticast() {
			l.warn(w, "write a multicast address, for instance 224.0.0.81", "group %s is no multicast address: %s is used", quote(w.Text), d.Group)
			return
		}
		d.Group = a
	}
}

// oldSync reads lvs_sync_daemon_interface of an instance: lvs_sync_daemon with that
// interface and instance, unless that is given.
func (l *loader) oldSync(d *draft, n *syntax.Node) {
	w := n.Args()[0]
	if l.sync != nil {
		l.warn(head(n), "take one of the two out", "there is an lvs_sync_daemon already: lvs_sync_daemon_interface is ignored")
		return
	}
	l.sync = &syncDraft{instance: d.name, SyncDaemon: SyncDaemon{
		Interface: w.Text, Port: syncPort, TTL: 1, Group: netip.MustParseAddr("224.0.0.81"), Pos: w.Pos,
	}}
}

// finishSync looks the instance of the sync daemon up.
func (l *loader) finishSync() {
	d := l.sync
	if d == nil {
		return
	}
	l.cfg.LVS.Sync = &d.SyncDaemon
	if d.instance.Pos.IsZero() {
		return
	}
	names := make([]string, 0, len(l.cfg.Instances))
	for _, in := range l.cfg.Instances {
		if names = append(names, in.Name); in.Name == d.instance.Text {
			d.Instance = in.Name
			if !d.id {
				d.ID = in.VRID
			}
			return
		}
	}
	l.fail(d.instance, didYouMean(d.instance.Text, names), "there is no vrrp_instance %s: the sync daemon would not follow it", quote(d.instance.Text))
}

// readSSL reads the SSL block.
func (l *loader) readSSL(block *syntax.Node) {
	s := &l.cfg.SSL
	s.Pos = head(block).Pos
	for _, n := range l.good(block) {
		w := n.Args()[0]
		switch n.Keyword() {
		case "password":
			s.Password = w.Text
		case "ca":
			s.CA = w.Text
		case "certificate":
			s.Certificate = w.Text
		case "key":
			s.Key = w.Text
		}
	}
}

// readTrackFile reads a track_file block, or vrrp_track_file as it was called.
func (l *loader) readTrackFile(block *syntax.Node) {
	name := block.Args()[0]
	if slices.ContainsFunc(l.cfg.TrackFiles, func(f TrackFile) bool { return f.Name == name.Text }) {
		l.warn(name, "rename one of the two, or take it out", "track_file %s is defined twice: the first one is used", quote(name.Text))
		return
	}
	f := TrackFile{Name: name.Text, Weight: 1, Pos: name.Pos}
	for _, n := range l.good(block) {
		switch n.Keyword() {
		case "file":
			f.Path = n.Args()[0].Text
		case "weight":
			l.fileWeight(n, &f.Weight, &f.Reverse)
		case "init_file":
			l.initFile(n, &f)
		}
	}
	if f.Path == "" {
		l.warn(name, `write file "/path/to/file"`, "track_file %s has no file: keepalived removes it", quote(name.Text))
		return
	}
	l.cfg.TrackFiles = append(l.cfg.TrackFiles, f)
}

// initFile reads init_file [VALUE] [overwrite].
func (l *loader) initFile(n *syntax.Node, f *TrackFile) {
	zero := 0
	f.Init = &zero
	for _, w := range n.Args() {
		if w.Text == "overwrite" {
			f.Overwrite = true
		} else if v, ok := l.number(Warning, "init_file", w, math.MinInt32, math.MaxInt32, "0 is used"); ok {
			f.Init = &v
		}
	}
}

// fileWeight reads weight W [reverse] of a track_file or a FILE_CHECK.
func (l *loader) fileWeight(n *syntax.Node, weight *int, reverse *bool) {
	args := n.Args()
	if v, ok := l.number(Warning, "weight", args[0], -math.MaxInt32, math.MaxInt32, "it is ignored"); ok {
		*weight = v
	}
	if len(args) > 1 {
		if *reverse = args[1].Text == "reverse"; !*reverse {
			l.warn(args[1], didYouMean(args[1].Text, []string{"reverse"}), "weight takes no %s: it is ignored", quote(args[1].Text))
		}
	}
}
