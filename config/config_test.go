package config

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/solovip/solovip/config/syntax"
)

// oneFile is a file system with one file, x.conf.
func oneFile(text string) fs.FS {
	return fstest.MapFS{"x.conf": &fstest.MapFile{Data: []byte(text)}}
}

// load loads a text and fails the test when it has errors.
func load(t *testing.T, text string) *Config {
	t.Helper()
	opt := testOptions()
	opt.FS = oneFile(text)
	cfg, report := Load("x.conf", opt)
	if report.HasErrors() {
		t.Fatalf("errors: %v", report.Errors())
	}
	return cfg
}

// ignoring leaves out of a comparison where things are written.
var ignoring = cmp.Options{
	cmpopts.IgnoreTypes(syntax.Pos{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty(),
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestDefaults holds keepalived's defaults, as `keepalived -d` prints them.
func TestDefaults(t *testing.T) {
	cfg := load(t, "vrrp_script s {\nscript \"/bin/true\"\n}\n"+
		"vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n10.0.0.3\n}\n}\n")
	want := &Config{
		Global: Global{
			RouterID: "node1.example.com", Version: 2, McastGroup: addr("224.0.0.18"),
			McastGroup6: addr("ff02::12"), DefaultIface: "eth0",
		},
		Scripts: []Script{{
			Name: "s", Command: Command{Args: []string{"/bin/true"}, Text: "/bin/true"},
			Interval: time.Second, Timeout: time.Second, Rise: 1, Fall: 1,
		}},
		Instances: []Instance{{
			Name: "V", State: "BACKUP", Interface: "eth0", VRID: 51, Priority: 100,
			AdvertInt: time.Second, Version: 2, McastGroup: addr("224.0.0.18"), DownAdverts: 3,
			Addresses: []Address{{Prefix: netip.MustParsePrefix("10.0.0.3/32"), Interface: "eth0", Scope: "global"}},
			GARP: GARP{
				Delay: 5 * time.Second, Repeat: 5, LowerPrioDelay: 5 * time.Second,
				LowerPrioRepeat: 5, RefreshRepeat: 1,
			},
		}},
		Fencing: Fencing{OnIsolation: IsolationClaim, ClearAfter: 30 * time.Second},
	}
	if diff := cmp.Diff(want, cfg, ignoring); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// TestEverySetting sets each supported keyword to something else than its default.
func TestEverySetting(t *testing.T) {
	cfg := load(t, `
global_defs {
    router_id here
    script_user daemon root
    vrrp_version 3
    vrrp_mcast_group4 224.0.0.99
    vrrp_mcast_group6 ff02::99
    default_interface eth7
    vrrp_startup_delay 2.5
    vrrp_garp_master_delay 7
    vrrp_garp_lower_prio_repeat 0
    vrrp_garp_interval 0.001
    vrrp_down_timer_adverts 4
    vrrp_skip_check_adv_addr
}
vrrp_script s {
    script "/bin/cat 'a b' c\x41"
    interval 0.5
    timeout 3
    weight -5 reverse
    rise 2
    fall 3
    user root
    init_fail
}
vrrp_instance V {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 0.25
    nopreempt
    unicast_src_ip 10.0.0.1
    unicast_peer {
        10.0.0.2
    }
    mcast_dst_ip 224.0.0.77
    virtual_ipaddress {
        10.0.0.3/24 brd + dev eth1 scope link label eth1:0
        10.0.0.4/30 broadcast -
    }
    virtual_ipaddress_excluded {
        2001:db8::3
    }
    track_script {
        s
    }
    track_interface {
        eth1 weight -7
        eth2 weight 7 reverse
    }
    dont_track_primary
    notify_master "/bin/echo master" daemon
    notify_backup "/bin/echo backup"
    notify_fault "/bin/echo fault"
    notify_stop "/bin/echo stop"
    notify "/bin/echo any"
    garp_master_repeat 2
    garp_master_refresh 60
    garp_master_refresh_repeat 2
    garp_lower_prio_delay 1
}
vrrp_instance W {
    interface eth1
    virtual_router_id 52
    version 2
    down_timer_adverts 2
    skip_check_adv_addr off
    mcast_src_ip 10.0.1.1
    preempt_delay 300
    authentication {
        auth_type PASS
        auth_pass "a b"
    }
    virtual_ipaddress {
        10.0.1.3
    }
    track_script {
        s weight 4 noreverse
    }
}
vrrp_sync_group G {
    group {
        V
        W
    }
    sync_group_tracking_weight
    notify_master "/bin/echo group"
}
`)
	echo := func(what string) Command {
		return Command{Args: []string{"/bin/echo", what}, Text: "/bin/echo " + what}
	}
	master := echo("master")
	master.User = "daemon"
	want := &Config{
		Global: Global{
			RouterID: "here", ScriptUser: "daemon:root", Version: 3, McastGroup: addr("224.0.0.99"),
			McastGroup6: addr("ff02::99"), DefaultIface: "eth7", StartupDelay: 2500 * time.Millisecond,
		},
		Scripts: []Script{{
			Name:     "s",
			Command:  Command{Args: []string{"/bin/cat", "a b", "cA"}, Text: "/bin/cat 'a b' cA"},
			Interval: 500 * time.Millisecond, Timeout: 3 * time.Second, Weight: -5, Reverse: true,
			Rise: 2, Fall: 3, User: "root", InitFail: true,
		}},
		Instances: []Instance{{
			Name: "V", State: "BACKUP", Interface: "eth0", VRID: 51, Priority: 150,
			AdvertInt: 250 * time.Millisecond, Version: 3, NoPreempt: true,
			UnicastSrc: addr("10.0.0.1"), UnicastPeers: []netip.Addr{addr("10.0.0.2")},
			McastGroup: addr("224.0.0.77"), DownAdverts: 4, SkipAddrs: true, NoTrackLink: true,
			Addresses: []Address{
				{
					Prefix: netip.MustParsePrefix("10.0.0.3/24"), Interface: "eth1", Label: "eth1:0",
					Broadcast: addr("10.0.0.255"), Scope: "link",
				},
				{Prefix: netip.MustParsePrefix("10.0.0.4/30"), Interface: "eth0", Broadcast: addr("10.0.0.4"), Scope: "global"},
			},
			Excluded:     []Address{{Prefix: netip.MustParsePrefix("2001:db8::3/128"), Interface: "eth0", Scope: "global"}},
			TrackScripts: []Track{{Name: "s", Weight: -5, Reverse: true}},
			TrackIfaces:  []Track{{Name: "eth1", Weight: -7, HasWeight: true}, {Name: "eth2", Weight: 7, Reverse: true, HasWeight: true}},
			Notify:       Notify{Master: master, Backup: echo("backup"), Fault: echo("fault"), Stop: echo("stop"), Any: echo("any")},
			GARP: GARP{
				Delay: 7 * time.Second, Repeat: 2, LowerPrioDelay: time.Second, LowerPrioRepeat: 0,
				Refresh: time.Minute, RefreshRepeat: 2, Interval: time.Millisecond,
			},
		}, {
			Name: "W", State: "BACKUP", Interface: "eth1", VRID: 52, Priority: 100,
			AdvertInt: time.Second, Version: 2, PreemptDelay: 300 * time.Second, AuthPass: "a b",
			McastSrc: addr("10.0.1.1"), McastGroup: addr("224.0.0.99"), DownAdverts: 2,
			Addresses:    []Address{{Prefix: netip.MustParsePrefix("10.0.1.3/32"), Interface: "eth1", Scope: "global"}},
			TrackScripts: []Track{{Name: "s", Weight: 4, HasWeight: true}},
			GARP: GARP{
				Delay: 7 * time.Second, Repeat: 5, LowerPrioDelay: 7 * time.Second, LowerPrioRepeat: 0,
				RefreshRepeat: 1, Interval: time.Millisecond,
			},
		}},
		SyncGroups: []SyncGroup{{Name: "G", Instances: []string{"V", "W"}, Notify: Notify{Master: echo("group")}}},
		Fencing:    Fencing{OnIsolation: IsolationClaim, ClearAfter: 30 * time.Second},
	}
	if diff := cmp.Diff(want, cfg, ignoring); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestOurBlocks(t *testing.T) {
	cfg, report := Load("lease.conf", testOptions())
	// The fence agent's program is not on this host.
	if report.HasErrors() || len(report.Warnings()) != 1 {
		t.Fatalf("findings: %v", report.Findings)
	}
	cfg.Global, cfg.Scripts, cfg.Instances = Global{}, nil, nil
	want := &Config{
		Cluster: &Cluster{
			Name:      "edge",
			Nodes:     []Member{{Name: "lb01", Addr: addr("10.0.0.11")}, {Name: "lb02", Addr: addr("10.0.0.12")}},
			Witnesses: []Member{{Name: "w1", Addr: addr("10.0.0.13")}},
			MeshPort:  7000, KeyFile: "/etc/solovip/mesh.key",
		},
		Witness: &Witness{
			Endpoints: []string{"https://10.0.0.13:2379"}, CAFile: "/etc/solovip/ca.pem",
			CertFile: "/etc/solovip/node.pem", CertKeyFile: "/etc/solovip/node-key.pem",
			Timing: Timing{Name: "custom", Renew: 700 * time.Millisecond, Hold: 2800 * time.Millisecond, Wait: 3 * time.Second},
		},
		Guards: []Guard{
			{
				Name: "web", Protects: "VI_1", Systemd: "nginx.service", Always: true, StopTimeout: 2500 * time.Millisecond,
				StartTimeout: 10 * time.Second, HealthInterval: time.Second, HealthTimeout: time.Second, HealthFall: 2, Restarts: 2,
			},
			{
				Name: "batch", Protects: "VI_1", StopTimeout: 2 * time.Second,
				Start:   Command{Args: []string{"/bin/true", "start"}, Text: "/bin/true start"},
				StopCmd: Command{Args: []string{"/bin/true", "stop"}, Text: "/bin/true stop"},
				Status:  Command{Args: []string{"/bin/true", "a b"}, Text: "/bin/true 'a b'"},
				PIDFile: "/run/batch.pid", StartTimeout: 20 * time.Second,
				Health:         Command{Args: []string{"/bin/true", "health"}, Text: "/bin/true health"},
				HealthInterval: 2 * time.Second, HealthTimeout: 1500 * time.Millisecond, HealthFall: 3, Restarts: -1,
			},
		},
		Fencing: Fencing{
			OnIsolation: IsolationFence, Reference: addr("10.0.0.1"), Watchdog: Watchdog{WatchdogPreferred, "/dev/watchdog"},
			Agents: []Agent{{Name: "fence_ipmilan", Delay: 5 * time.Second, Timeout: 20 * time.Second, Verify: 10 * time.Second, Retries: 1, Parameters: []Parameter{
				{"ip", "10.0.9.12"}, {"username", "admin"}, {"password", "a b"},
			}}},
		},
	}
	if diff := cmp.Diff(want, cfg, ignoring); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// TestSettled holds what keepalived 2.2.7 was seen to make of settings that do not go together.
func TestSettled(t *testing.T) {
	tests := []struct {
		name, in string
		want     func(in Instance) bool
	}{
		{"MASTER without priority is the owner", "state MASTER", func(in Instance) bool { return in.Priority == 255 && in.State == "MASTER" }},
		{"priority 255 without state is MASTER", "priority 255", func(in Instance) bool { return in.State == "MASTER" }},
		{"state BACKUP with 255 stays", "priority 255\nstate BACKUP", func(in Instance) bool { return in.State == "BACKUP" && in.Priority == 255 }},
		{"unknown state is BACKUP", "state Master", func(in Instance) bool { return in.State == "BACKUP" && in.Priority == 100 }},
		{"the last priority counts", "priority 99\npriority 120", func(in Instance) bool { return in.Priority == 120 }},
		{"bad priority is 100", "priority 99\npriority 0x64", func(in Instance) bool { return in.Priority == 100 }},
		{"a plus sign is legal", "priority +5", func(in Instance) bool { return in.Priority == 5 }},
		{"nopreempt goes with BACKUP only", "state MASTER\npriority 150\nnopreempt", func(in Instance) bool { return !in.NoPreempt }},
		{"preempt_delay goes with preemption only", "nopreempt\npreempt_delay 5", func(in Instance) bool { return in.NoPreempt && in.PreemptDelay == 0 }},
		{"preempt_delay goes with BACKUP only", "state MASTER\npriority 150\npreempt_delay 5", func(in Instance) bool { return in.PreemptDelay == 0 }},
		{"version 2 counts seconds", "advert_int 1.5", func(in Instance) bool { return in.AdvertInt == 2*time.Second }},
		{"version 2, at least one", "advert_int 0.3", func(in Instance) bool { return in.AdvertInt == time.Second }},
		{"version 3 counts hundredths", "version 3\nadvert_int 0.555", func(in Instance) bool { return in.AdvertInt == 560*time.Millisecond }},
		{"version 3, at most", "version 3\nadvert_int 100", func(in Instance) bool { return in.AdvertInt == 40950*time.Millisecond }},
		{"bad advert_int is ignored", "advert_int 300", func(in Instance) bool { return in.AdvertInt == time.Second }},
		{"auth_pass is cut", "authentication {\nauth_type PASS\nauth_pass 123456789\n}", func(in Instance) bool { return in.AuthPass == "12345678" }},
		{"auth_pass needs auth_type", "authentication {\nauth_pass 1\n}", func(in Instance) bool { return in.AuthPass == "" }},
		{"version 3 has no authentication", "version 3\nauthentication {\nauth_type PASS\nauth_pass 1\n}", func(in Instance) bool { return in.AuthPass == "" }},
		{"unicast without a peer is multicast", "unicast_src_ip 10.0.0.9", func(in Instance) bool { return !in.UnicastSrc.IsValid() && len(in.UnicastPeers) == 0 }},
		{"mcast_src_ip is the source of unicast too", "mcast_src_ip 10.0.0.9\nunicast_peer {\n10.0.0.8\n}", func(in Instance) bool { return in.UnicastSrc == addr("10.0.0.9") }},
		{"vrrp_min_garp", "===vrrp_min_garp", func(in Instance) bool { return in.GARP.Repeat == 1 && in.GARP.Delay == 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, global := tt.in, ""
			if g, ok := strings.CutPrefix(tt.in, "==="); ok {
				body, global = "", g
			}
			cfg := load(t, "global_defs {\n"+global+"\n}\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 5\n"+body+"\nvirtual_ipaddress {\n10.0.0.3\n}\n}\n")
			if !tt.want(cfg.Instances[0]) {
				t.Errorf("got %+v", cfg.Instances[0])
			}
		})
	}
}

// TestIPv6 shows that the first address decides the family, and the family the version.
func TestIPv6(t *testing.T) {
	cfg := load(t, "vrrp_instance V {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\nfe80::5/64\n2001:db8::1\n}\n}\n")
	in := cfg.Instances[0]
	if in.Version != 3 || in.McastGroup != addr("ff02::12") || in.Addresses[1].Prefix.Bits() != 128 {
		t.Errorf("got %+v", in)
	}
}

// TestDisabledScripts shows that a script that cannot be run does not keep an instance from
// being master: keepalived disables it, so nobody tracks it.
func TestDisabledScripts(t *testing.T) {
	script := func(name, body string) string { return "vrrp_script " + name + " {\n" + body + "\n}\n" }
	cfg := load(t, script("missing", `script "/nonexistent/x"`)+script("nobody", "script \"/bin/true\"\nuser nosuch")+
		script("shell", `script "[[ -f /x ]] && exit 1"`)+script("good", `script "/bin/true"`)+
		"vrrp_instance V {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.3\n}\ntrack_script {\nmissing\nnobody\nshell\ngood\nunknown\n}\n}\n")
	var got []string
	for _, tr := range cfg.Instances[0].TrackScripts {
		got = append(got, tr.Name)
	}
	if diff := cmp.Diff([]string{"shell", "good"}, got); diff != "" {
		t.Errorf("tracked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/bin/bash", "-c", "[[ -f /x ]] && exit 1"}, cfg.Scripts[2].Command.Args); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

func TestNeedsShell(t *testing.T) {
	tests := []struct{ text, shell string }{
		{"/bin/check a b", ""},
		{"/bin/check http://x/?a=1&b=2;c|d>e", ""},
		{"/bin/sh -c '[ -f /x ] && exit 1'", ""},
		{"/bin/check -> a", ""},
		{"/bin/check <arg_list>", ""},
		{"[ -f /x ]", ""},
		{"[ -f /x ] && exit 1", "/bin/sh"},
		{"/bin/check; /bin/other", "/bin/sh"},
		{"/bin/check | /bin/grep x", "/bin/sh"},
		{"/bin/check >/dev/null", "/bin/sh"},
		{"/bin/check 2>&1", "/bin/sh"},
		{"/bin/check > /dev/null", "/bin/sh"},
		{"/bin/check `date`", "/bin/sh"},
		{"/bin/check $(date)", "/bin/sh"},
		{"if true; then exit 1; fi", "/bin/sh"},
		{"! /bin/check", "/bin/sh"},
		{"exit 0", "/bin/sh"},
		{"[[ -f /x ]]", "/bin/bash"},
		{"/bin/check &>/dev/null", "/bin/bash"},
		{"/bin/diff <(date) x", "/bin/bash"},
	}
	for _, tt := range tests {
		if _, got := needsShell(tt.text); got != tt.shell {
			t.Errorf("needsShell(%q) = %q, want %q", tt.text, got, tt.shell)
		}
	}
}

// TestTable holds keywords.md together: rows are well formed, blocks exist, what is said
// to be supported is read by the code and documented.
func TestTable(t *testing.T) {
	var code strings.Builder
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && !strings.HasSuffix(f, "_test.go") {
			code.Write(text)
		}
	}
	doc, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for section, rows := range sections() {
		for _, r := range rows {
			name := section + "/" + r.keyword
			if !strings.Contains("01?", r.args) || !strings.Contains("yes read no old", r.state) {
				t.Errorf("%s: bad row %+v", name, r)
			}
			if _, ok := sections()[r.inside]; r.block() && r.inside != "*" && !ok {
				t.Errorf("%s: no section %q", name, r.inside)
			}
			if r.state != "yes" && r.state != "read" {
				continue
			}
			short := strings.TrimPrefix(r.keyword, "vrrp_")
			if !strings.Contains(code.String(), quote(r.keyword)) && !strings.Contains(code.String(), quote(short)) {
				t.Errorf("%s is said to be supported, but no code reads it", name)
			}
			if !strings.Contains(string(doc), "`"+r.keyword) && !strings.Contains(string(doc), "## "+r.keyword) {
				t.Errorf("%s is not in docs/configuration.md", name)
			}
		}
	}
}

func TestWatchdog(t *testing.T) {
	tests := []struct {
		line   string
		want   Watchdog
		remedy string // of the error; empty: none
	}{
		{"watchdog off", Watchdog{}, ""},
		{"watchdog required", Watchdog{WatchdogRequired, "/dev/watchdog"}, ""},
		{"watchdog required /dev/watchdog1", Watchdog{WatchdogRequired, "/dev/watchdog1"}, ""},
		{"watchdog preferred /dev/watchdog1", Watchdog{WatchdogPreferred, "/dev/watchdog1"}, ""},
		{"watchdog /dev/watchdog", Watchdog{WatchdogPreferred, "/dev/watchdog"}, ""},
		{"watchdog require", Watchdog{}, `did you mean "required"?`},
		{"watchdog dev", Watchdog{}, "write off, preferred or required, then the whole path of the device, from / on"},
		{"watchdog required watchdog0", Watchdog{}, "write off, preferred or required, then the whole path of the device, from / on"},
		{"watchdog off /dev/watchdog", Watchdog{}, "write watchdog required /dev/watchdog"},
		{"watchdog required /dev/watchdog 10", Watchdog{}, "write watchdog required /dev/watchdog"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			opt := testOptions()
			opt.FS = oneFile("fencing {\n    " + tt.line + "\n}\n")
			cfg, report := Load("x.conf", opt)
			if cfg.Fencing.Watchdog != tt.want {
				t.Errorf("got %+v, want %+v", cfg.Fencing.Watchdog, tt.want)
			}
			remedy := ""
			for _, f := range report.Errors() {
				remedy += f.Remedy
			}
			if remedy != tt.remedy {
				t.Errorf("the remedy is %q, want %q: %v", remedy, tt.remedy, report.Findings)
			}
		})
	}
}
