package deploy

import (
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/solovip/solovip/config"
)

// sample is one set-up: the files of one directory, loaded.
type sample struct {
	dir     string
	cluster *config.Config            // cluster.conf alone, as on the witness
	nodes   map[string]*config.Config // by file name
}

// unsupported is the warning about parts of keepalived that are still to come.
var unsupported = regexp.MustCompile(`is not supported yet`)

// load reads one file as the host would that has it in /etc/solovip.
func load(t *testing.T, dir, file string) *config.Config {
	t.Helper()
	cfg, report := config.Load(filepath.Join(dir, file), config.Options{
		Hostname: strings.TrimSuffix(file, ".conf"),
		Program:  func(name string) error { return shipped(dir, name) },
		User:     func(string, string) error { return nil },
	})
	for _, f := range report.Findings {
		if f.Severity == config.Error || !unsupported.MatchString(f.Text) {
			t.Errorf("%s: %s (%s)", f.Pos, f.Text, f.Remedy)
		}
	}
	return cfg
}

// shipped reports whether a program that a sample names is either the system's or comes with
// the sample, and can be run.
func shipped(dir, name string) error {
	own, ok := strings.CutPrefix(name, "/etc/solovip/")
	if !ok {
		if strings.HasPrefix(name, "/usr/bin/") {
			return nil
		}
		return errors.New("not in /etc/solovip and not in /usr/bin")
	}
	info, err := os.Stat(filepath.Join(dir, own))
	if err == nil && info.Mode()&0o111 == 0 {
		err = errors.New("not executable")
	}
	return err
}

func samples(t *testing.T) []sample {
	t.Helper()
	dirs, err := filepath.Glob("examples/*")
	if err != nil || len(dirs) < 7 {
		t.Fatalf("samples %v, %v: want one for each usual set-up", dirs, err)
	}
	var all []sample
	for _, dir := range dirs {
		s := sample{dir: dir, cluster: load(t, dir, "cluster.conf"), nodes: map[string]*config.Config{}}
		files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			switch f = filepath.Base(f); f {
			case "cluster.conf", "virtual_servers.conf":
			default:
				s.nodes[f] = load(t, dir, f)
			}
		}
		all = append(all, s)
	}
	return all
}

// Every sample loads without a finding, is a complete pair, and its two nodes agree on all that
// must be the same.
func TestSamples(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(filepath.Base(s.dir), func(t *testing.T) {
			c := s.cluster.Cluster
			if c == nil || s.cluster.Witness == nil || len(c.Nodes) != 2 || len(s.nodes) != 2 {
				t.Fatalf("cluster %+v, witness %+v, files %v: want two nodes, a file for each and a witness", c, s.cluster.Witness, slices.Collect(maps.Keys(s.nodes)))
			}
			var pair []*config.Config
			for _, m := range c.Nodes {
				cfg := s.nodes[m.Name+".conf"]
				if cfg == nil {
					t.Fatalf("no file for node %s", m.Name)
				}
				if len(cfg.Instances) == 0 || cfg.Cluster.Name != c.Name {
					t.Errorf("%s: %d instances in cluster %q", m.Name, len(cfg.Instances), cfg.Cluster.Name)
				}
				pair = append(pair, cfg)
			}
			agree(t, pair[0], pair[1])
			reaches(t, s.cluster)
		})
	}
}

// agree checks what two nodes must have in common, and that exactly one is preferred.
func agree(t *testing.T, a, b *config.Config) {
	t.Helper()
	if len(a.Instances) != len(b.Instances) || len(a.Guards) != len(b.Guards) {
		t.Fatalf("%d and %d instances, %d and %d guards", len(a.Instances), len(b.Instances), len(a.Guards), len(b.Guards))
	}
	for i, x := range a.Instances {
		y := b.Instances[i]
		if x.Name != y.Name || x.VRID != y.VRID || x.AdvertInt != y.AdvertInt || x.Version != y.Version ||
			x.AuthPass != y.AuthPass || x.NoPreempt != y.NoPreempt || !slices.EqualFunc(x.Addresses, y.Addresses, sameAddress) {
			t.Errorf("instance %s differs: %+v and %+v", x.Name, x, y)
		}
		if x.Priority == y.Priority {
			t.Errorf("instance %s has priority %d on both nodes", x.Name, x.Priority)
		}
	}
	for i, g := range a.Guards {
		if o := b.Guards[i]; g.Name != o.Name || g.Protects != o.Protects || g.Systemd != o.Systemd || g.Always != o.Always || g.StopTimeout != o.StopTimeout {
			t.Errorf("guard %s differs: %+v and %+v", g.Name, g, o)
		}
	}
}

func sameAddress(x, y config.Address) bool {
	x.Pos, y.Pos = config.Address{}.Pos, config.Address{}.Pos
	return x == y
}

// reaches checks that a witness that solovip runs is where the nodes look for it.
func reaches(t *testing.T, cfg *config.Config) {
	t.Helper()
	for _, w := range cfg.Cluster.Witnesses {
		want := "https://" + netip.AddrPortFrom(w.Addr, 2379).String()
		if !slices.Contains(cfg.Witness.Endpoints, want) {
			t.Errorf("endpoints %v do not have witness %s at %s", cfg.Witness.Endpoints, w.Name, want)
		}
	}
	if cfg.Witness.CAFile == "" || cfg.Witness.CertFile == "" {
		t.Error("a sample must show the way with certificates")
	}
}

// A sample that nobody finds is none, and neither is one that is not there.
func TestReadmeListsSamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples(t) {
		if name := "| `" + filepath.Base(s.dir) + "` |"; !strings.Contains(string(readme), name) {
			t.Errorf("README.md has no line %s", name)
		}
	}
}

func TestScriptsParse(t *testing.T) {
	found := 0
	err := filepath.WalkDir("examples", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sh" {
			return err
		}
		found++
		if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d scripts, %v", found, err)
	}
}

// systemd itself says whether it would take the units, where it is installed.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) != 2 {
		t.Fatal(units, err)
	}
	for _, path := range units {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, want := range []string{"Type=notify\n", "Restart=on-failure\n", "RuntimeDirectory=solovip\n", "StateDirectory=solovip\n", "ExecStart=/usr/bin/solovip "} {
			if !strings.Contains(text, "\n"+want) {
				t.Errorf("%s has no %q", path, want)
			}
		}
		verify, err := exec.LookPath("systemd-analyze")
		if err != nil && os.Getenv("CI") == "true" {
			t.Fatalf("%s cannot be verified: %v", path, err)
		}
		if err != nil {
			t.Skipf("%s is not verified: %v", path, err)
		}
		// It wants the program to be there.
		copied := filepath.Join(t.TempDir(), filepath.Base(path))
		if err := os.WriteFile(copied, []byte(strings.ReplaceAll(text, "/usr/bin/solovip", "/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), verify, "verify", "--man=no", copied).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}
