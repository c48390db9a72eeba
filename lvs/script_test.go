package lvs

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write what scripts produce into testdata")

// TestScripts runs the stories in testdata/*.txt: configuration and commands, one a line,
// then "----", then all that the balancer did. A new step after a trace needs no
// configuration; with one it is a reload.
//
//	server NAME ADDR... [quorum N] [hysteresis N] [sorry ADDR] [sorry_inhibit] [omega] [ha_suspend]
//	real ADDR [weight N] [inhibit] [slow D] [DR] [check ID | alpha ID]...
//	global [flush] [on_stop each|services|all] [sync IF [INSTANCE]] [init_notifies]
//
// The commands are those of world.command.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runScript(string(data))
			if err != nil {
				t.Fatal(err)
			}
			if got == string(data) {
				return
			}
			if !*rewrite {
				t.Errorf("%s: the trace differs; run go test ./lvs -run TestScripts -rewrite and read the diff.\ngot:\n%s", file, got)
				return
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// runScript returns the script with the traces that its commands produce.
func runScript(text string) (string, error) {
	var out strings.Builder
	var w *world
	var cfg *Config // that is being read
	inTrace := false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		fields := strings.Fields(line)
		switch {
		case inTrace && line != "":
			continue
		case line == "" || line[0] == '#':
			inTrace = false
			out.WriteString(line + "\n")
			continue
		case line == "----":
			out.WriteString("----\n" + strings.Join(append(w.trace, ""), "\n"))
			w.trace, inTrace = nil, true
			continue
		}
		out.WriteString(line + "\n")
		if slices.Contains([]string{"server", "real", "global"}, fields[0]) {
			if cfg == nil {
				cfg = &Config{}
			}
			scripted(cfg, fields)
			continue
		}
		var err error
		switch {
		case cfg != nil && w == nil:
			w, err = newWorld(*cfg)
		case cfg != nil:
			w.send(Reconfigure{*cfg})
		}
		if cfg = nil; err == nil && fields[0] != "reload" {
			err = w.command(fields)
		}
		if err != nil {
			return "", fmt.Errorf("line %d: %s: %w", i+1, line, err)
		}
		if len(w.problems) > 0 {
			return "", fmt.Errorf("line %d: %s: %v\n%s", i+1, line, w.problems, strings.Join(w.trace, "\n"))
		}
	}
	return out.String(), nil
}

// scripted takes one line of configuration in.
func scripted(c *Config, f []string) {
	words := f[1:]
	next := func() string {
		w := words[0]
		words = words[1:]
		return w
	}
	number := func() int {
		n, err := strconv.Atoi(next())
		if err != nil {
			panic(err)
		}
		return n
	}
	switch f[0] {
	case "global":
		for len(words) > 0 {
			switch next() {
			case "flush":
				c.Flush = true
			case "init_notifies":
				c.InitNotifies = true
			case "on_stop":
				c.OnStop = OnStop(slices.Index([]string{"each", "services", "all"}, next()))
			case "sync":
				c.Sync = &Sync{Daemon: Daemon{Interface: next(), ID: 5, Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}}
				if len(words) > 0 {
					c.Sync.Instance = next()
				}
			}
		}
	case "server":
		c.Servers = append(c.Servers, scriptedServer(next, number, &words))
	case "real":
		v := &c.Servers[len(c.Servers)-1]
		v.Reals = append(v.Reals, scriptedReal(next, number, &words))
	}
}

func scriptedServer(next func() string, number func() int, words *[]string) VirtualServer {
	v := VirtualServer{Name: next(), Quorum: 1, Service: Service{Scheduler: "rr"}}
	for len(*words) > 0 {
		switch w := next(); w {
		case "quorum":
			v.Quorum = number()
		case "hysteresis":
			v.Hysteresis = number()
		case "sorry":
			v.Sorry = &Sorry{Addr: netip.MustParseAddrPort(next())}
		case "sorry_inhibit":
			v.Sorry.Inhibit = true
		case "omega":
			v.Omega = true
		case "ha_suspend":
			v.Follows = true
		case "sh":
			v.Service.Scheduler = w
		default:
			v.Keys = append(v.Keys, AddressKey(TCP, netip.MustParseAddrPort(w)))
		}
	}
	return v
}

func scriptedReal(next func() string, number func() int, words *[]string) RealServer {
	r := RealServer{Addr: netip.MustParseAddrPort(next()), Weight: 1}
	for len(*words) > 0 {
		switch w := next(); w {
		case "weight":
			r.Weight = number()
		case "inhibit":
			r.Inhibit = true
		case "slow":
			d, err := time.ParseDuration(next())
			if err != nil {
				panic(err)
			}
			r.SlowStart = d
		case "DR":
			r.Forwarding.Method = DR
		case "check", "alpha":
			r.Checks = append(r.Checks, Check{ID: CheckID(next()), Alpha: w == "alpha"})
		}
	}
	return r
}
