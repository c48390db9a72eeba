package tidy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// layers says which of our packages each package may import, tests left out: the
// architecture in short. Lower layers stand first; a package imports from lines above
// its own. A new package needs a line, and a reason to stand where it does.
var layers = []struct{ pkg, may string }{ //nolint:gochecknoglobals // a table
	// Tools of everything.
	{"internal/boottime", ""},
	{"internal/nearest", ""},
	{"internal/filewatch", ""},
	{"internal/script", ""},
	{"internal/durable", ""},
	{"internal/lanes", ""},
	{"internal/tidy", ""},
	{"internal/await", ""},
	{"internal/golden", ""},
	{"internal/port", ""},
	{"internal/authority", ""},
	{"internal/browser", ""}, // for tests of pages

	// The pure core: decides.
	{"arbiter", ""},
	{"vrrp", ""},
	{"witness", "arbiter"},
	{"fencing", "arbiter"},
	{"lvs", ""},
	{"checks", "lvs"},
	{"node", "arbiter fencing vrrp witness"},

	// Configuration: text into settings.
	{"config/syntax", ""},
	{"config", "config/syntax internal/nearest"},
	{"lvs/settings", "config lvs"},

	// Adapters: each knows one part of the world and nothing of the others.
	{"vrrp/vip", ""},
	{"vrrp/rawip", "vrrp/vip"},
	{"mesh", "arbiter internal/boottime"},
	{"lvs/ipvs", "lvs"},
	{"checks/probe", "config internal/filewatch internal/script lvs"},
	{"checks/runner", "checks checks/probe config internal/boottime lvs"}, // drives probes by the decisions of checks
	{"witness/etcd", "witness"},
	{"witness/server", ""},
	{"fencing/gate", "internal/boottime"},
	{"fencing/guard", ""},
	{"fencing/watchdog", "internal/boottime"},
	{"fencing/ledger", "fencing"},
	{"fencing/agent", ""},
	{"fencing/selftest", "fencing/gate internal/boottime vrrp/vip"},

	// The read model's two renderings.
	{"control", "lvs node"},
	{"control/text", "arbiter fencing lvs node"},

	// The shell: brings all of the above together.
	{"node/guardian", ""},
	{"lvs/daemon", "checks/runner config control internal/boottime internal/durable internal/lanes internal/script lvs lvs/ipvs lvs/settings node vrrp/vip"},
	{"node/daemon", "arbiter config control fencing fencing/agent fencing/gate fencing/guard fencing/ledger fencing/watchdog internal/boottime internal/durable internal/lanes internal/script mesh node vrrp vrrp/rawip vrrp/vip witness witness/etcd witness/server"},

	// The lab: judges the binary from outside, so it knows nothing of its inside.
	{"lab/verify", ""},
	{"lab/vm", ""},
	{"lab/vmtest", "lab/vm"},
	{"lab/disk", ""},
	{"lab/scenario", "internal/nearest lab/verify"},
	{"lab/split", ""},
	{"lab/netns", "internal/boottime lab/disk lab/scenario lab/verify lab/vm vrrp vrrp/rawip"}, // vrrp: forges adverts
	// But for the simulator, which drives the core under virtual time.
	{"lab/sim", "arbiter fencing node vrrp witness"},
	{"lab/report", "lab/netns lab/scenario lab/verify"},
	{"lab/turns", ""},
	{"lab", "internal/nearest lab/netns lab/report lab/scenario lab/turns lab/verify lab/vm"},

	// Packages of tests alone.
	{"lab/stories", ""},
	{"deploy", ""},

	{"cmd/solovip", "checks/probe config control control/text fencing fencing/ledger fencing/selftest lab lab/split lvs lvs/daemon mesh node node/daemon node/guardian witness"},
}

// anyTest are the tools that every test may import, and nothing else.
const anyTest = "internal/authority internal/await internal/golden internal/port"

// testsToo says which of our packages the tests of a package may import beyond its own
// line and itself.
var testsToo = map[string]string{ //nolint:gochecknoglobals // a table
	"vrrp":             "vrrp/rawip",                     // talks to a real keepalived
	"witness/etcd":     "witness/server",                 // runs against a real etcd
	"deploy":           "config",                         // loads every sample
	"fencing/gate":     "lab/vm lab/vmtest",              // a kernel with IPVS
	"lab/report":       "internal/browser",               // reads its page as people do
	"lab/netns":        "lab/turns",                      // plays many at once
	"lab/vm":           "lab/vmtest",                     // skips as they do
	"lab/stories":      "lab/vm lab/vmtest",              // a machine with a watchdog
	"fencing/watchdog": "lab/vm lab/vmtest",              // a machine to be reset
	"lvs/ipvs":         "lab/vm lab/vmtest",              // a kernel with IPVS
	"lvs/settings":     "lab/vm lab/vmtest lvs/ipvs",     // compares keepalived with us
	"checks/probe":     "lab/vm lab/vmtest",              // as the line above
	"checks/runner":    "lab/vm lab/vmtest lvs/settings", // as the line above
}

// pure lists the packages that open nothing, start nothing, read no clock, draw no
// randomness and log nothing.
var pure = []string{"internal/nearest", "arbiter", "vrrp", "witness", "fencing", "lvs", "checks", "node", "control/text", "lab/scenario", "lab/verify"} //nolint:gochecknoglobals // a table

// pureStandard lists what pure packages may import of the standard library.
const pureStandard = "bytes cmp container/heap embed encoding/binary encoding/json errors fmt hash/crc32 iter maps math math/bits net/netip " +
	"reflect slices sort strconv strings time unicode unicode/utf8"

// impureCalls lists what pure packages may not use of the packages they may import.
var impureCalls = map[string]string{ //nolint:gochecknoglobals // a table
	"time": "Now Since Until Sleep After AfterFunc Tick NewTimer NewTicker",
	"fmt":  "Print Printf Println Scan Scanf Scanln",
}

// ours returns the imports of s that are our own packages, with their lines.
func ours(t *Tree, s *Source) map[string]int {
	found := map[string]int{}
	for _, spec := range s.AST.Imports {
		if pkg, ok := strings.CutPrefix(importPath(spec.Path.Value), Module+"/"); ok {
			found[pkg] = t.line(spec.Pos())
		}
	}
	return found
}

func importPath(literal string) string {
	p, err := strconv.Unquote(literal)
	if err != nil {
		panic("tidy: the parser let an import of " + literal + " pass")
	}
	return p
}

func importsPointDownwards(t *Tree) []Finding {
	found := layersAreInOrder()
	may := map[string][]string{}
	for _, l := range layers {
		may[l.pkg] = strings.Fields(l.may)
	}
	for _, s := range t.Go {
		allowed, listed := may[s.Dir]
		if !listed {
			found = append(found, Finding{Path: s.Path, Text: "package " + s.Dir + " is not in the table of imports: " +
				"give it a line in internal/tidy/imports.go that says what it may import"})
			continue
		}
		if s.Test {
			allowed = append(append([]string{s.Dir}, allowed...), strings.Fields(anyTest+" "+testsToo[s.Dir])...)
		}
		imports := ours(t, s)
		for _, pkg := range slices.Sorted(maps.Keys(imports)) {
			if !slices.Contains(allowed, pkg) {
				found = append(found, Finding{Path: s.Path, Line: imports[pkg], Text: fmt.Sprintf("%s may not import %s: "+
					"imports point downwards; pass in what is needed, or change the table in internal/tidy/imports.go with a reason", s.Dir, pkg)})
			}
		}
	}
	return found
}

// layersAreInOrder finds lines of the table that look upwards.
func layersAreInOrder() []Finding {
	var found []Finding
	above := map[string]bool{}
	for _, l := range layers {
		for pkg := range strings.FieldsSeq(l.may) {
			if !above[pkg] {
				found = append(found, Finding{Path: "internal/tidy/imports.go", Text: l.pkg + " may import " + pkg +
					", which stands below it or nowhere: move one of the two"})
			}
		}
		above[l.pkg] = true
	}
	return found
}
