package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"

	"github.com/solovip/solovip/config/syntax"
)

// Finding is one thing to say about a configuration: where, what, and the remedy.
type Finding = syntax.Finding

// Report is the list of findings about a configuration.
type Report = syntax.Report

// Severity says whether a finding keeps the configuration from being run.
type Severity = syntax.Severity

// The severities.
const (
	Error   = syntax.Error
	Warning = syntax.Warning
)

// Options says what a configuration is read with. Its zero value reads this host's files
// and looks its programs and users up.
type Options struct {
	// ConfigID is what @id lines are compared with; default: Hostname up to its first dot.
	ConfigID string
	// Hostname is the default of router_id; default: this host's.
	Hostname string
	// FS is where files are read, rooted at "/"; default: this host's.
	FS fs.FS
	// Dir is the absolute directory relative file names start from; default: the working directory.
	Dir string
	// Getenv looks up ${_ENV NAME}; default: os.LookupEnv.
	Getenv func(name string) (string, bool)
	// Random makes ${_RANDOM}, a number from lo to hi; default: a new one each time.
	Random func(lo, hi int) int
	// Program returns an error when a program cannot be run; a name without a slash is
	// sought in the path. Default: exec.LookPath.
	Program func(name string) error
	// User returns an error when there is no such user, or no such group; the group may be
	// empty. Default: this host's.
	User func(name, group string) error
}

func (o Options) filled() Options {
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname() // without one, router_id stays empty
	}
	if o.Program == nil {
		o.Program = lookProgram
	}
	if o.User == nil {
		o.User = func(name, group string) error {
			if _, err := user.Lookup(name); err != nil {
				return err
			}
			if group == "" {
				return nil
			}
			_, err := user.LookupGroup(group)
			return err
		}
	}
	return o
}

// lookProgram is the default of Options.Program. Its errors say why only: findings name
// the program themselves.
func lookProgram(name string) error {
	_, err := exec.LookPath(name)
	if ee, ok := errors.AsType[*exec.Error](err); ok {
		err = ee.Err
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return err
}

// Load reads a configuration, with all it includes. The settings are complete, defaults
// included, but must not be run when the report has errors.
func Load(path string, opt Options) (*Config, *Report) {
	opt = opt.filled()
	l := &loader{
		opt: opt, cfg: &Config{},
		bad: make(map[*syntax.Node]bool), scripts: make(map[string]bool),
	}
	id := opt.ConfigID
	if id == "" {
		id = shortName(opt.Hostname)
	}
	tree, report := syntax.Parse(path, syntax.Options{
		FS: opt.FS, Dir: opt.Dir, ID: id, Getenv: opt.Getenv, Random: opt.Random, Level: level,
	})
	l.report = report
	l.check(tree.Nodes, "root", true)
	l.read(tree.Nodes)
	l.cross()
	report.Sort()
	return l.cfg, report
}

// loader makes a Config of a tree.
type loader struct {
	opt    Options
	cfg    *Config
	report *Report

	bad     map[*syntax.Node]bool // statements the readers leave out
	scripts map[string]bool       // vrrp_script names: can it be run?
	garp    garp                  // of global_defs
	down    int                   // vrrp_down_timer_adverts
	skip    bool                  // vrrp_skip_check_adv_addr
	drafts  []*draft              // instances, as far as they are read
	groups  []groupDraft          // sync groups, with the words to point at
	fencing *syntax.Node          // the fencing block
	gate    syntax.Word           // what its gate says

	sync         *syncDraft // lvs_sync_daemon
	serverGroups []serverGroup
	virtuals     []*virtualDraft
}

// read makes settings of the whole tree: first what others refer to.
func (l *loader) read(nodes []*syntax.Node) {
	l.globalDefaults()
	l.each(nodes, "global_defs", l.readGlobal)
	l.each(nodes, "vrrp_script", l.readScript)
	l.each(nodes, "vrrp_instance", l.readInstance)
	l.each(nodes, "vrrp_sync_group", l.readGroup)
	l.finishInstances()
	l.readServers(nodes)
	l.each(nodes, "cluster", l.readCluster)
	l.each(nodes, "witness", l.readWitness)
	l.each(nodes, "guard", l.readGuard)
	l.fencingDefaults()
	l.each(nodes, "fencing", l.readFencing)
	l.finishGate()
}

// readServers reads what virtual servers are made of.
func (l *loader) readServers(nodes []*syntax.Node) {
	l.finishSync()
	l.each(nodes, "SSL", l.readSSL)
	l.each(nodes, "track_file", l.readTrackFile)
	l.each(nodes, "vrrp_track_file", l.readTrackFile)
	l.each(nodes, "virtual_server_group", l.readServerGroup)
	l.each(nodes, "virtual_server", l.readVirtual)
}

// each calls f for every statement with that keyword that is fit to be read.
func (l *loader) each(nodes []*syntax.Node, keyword string, f func(*syntax.Node)) {
	for _, n := range nodes {
		if n.Keyword() == keyword && !l.bad[n] {
			f(n)
		}
	}
}

// good returns the statements of a block that are fit to be read.
func (l *loader) good(n *syntax.Node) []*syntax.Node {
	var out []*syntax.Node
	for _, c := range n.Children {
		if !l.bad[c] {
			out = append(out, c)
		}
	}
	return out
}

// add adds a finding about a word.
func (l *loader) add(sev Severity, w syntax.Word, remedy, format string, args ...any) {
	l.report.Add(Finding{
		Pos: w.Pos, Via: w.Via, Width: w.Width, Severity: sev, Remedy: remedy,
		Text: fmt.Sprintf(format, args...),
	})
}

// fail adds an error about a word.
func (l *loader) fail(w syntax.Word, remedy, format string, args ...any) {
	l.add(Error, w, remedy, format, args...)
}

// warn adds a warning about a word.
func (l *loader) warn(w syntax.Word, remedy, format string, args ...any) {
	l.add(Warning, w, remedy, format, args...)
}

// head returns the word to point at when a whole statement is meant.
func head(n *syntax.Node) syntax.Word {
	if len(n.Words) > 0 {
		return n.Words[0]
	}
	return syntax.Word{Pos: n.Open, Width: 1}
}

// behind returns the place behind the last word of a statement: where a value is missing.
func behind(n *syntax.Node) syntax.Word {
	w := n.Words[len(n.Words)-1]
	w.Pos.Col += w.Width
	w.Width = 1
	return w
}
