package netns

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/solovip/solovip/lab/scenario"
)

// What a scenario sets takes the place of what the lab writes by itself, or comes behind it,
// on the nodes and the systems that are named; a whole file takes the place of all.
func TestConfigurationUnderTest(t *testing.T) {
	s, err := scenario.Parse("x.scenario", `scenario x
text two claims and settings
topology
    claim VI_1 10.77.0.100/24
    claim VI_2 10.77.0.101/24 prefers n2
configure
    instance advert_int 0.5
    VI_2 nopreempt
configure veto
    instance priority 9
configure keepalived on n1
    line static_routes {
    line }
file keepalived on n2
    | # with %key_file% and %start%
steps
    begin n1
expect lease
    holder n1
`)
	if err != nil {
		t.Fatal(err)
	}
	files := setup{job: Job{Scenario: s, System: scenario.Keepalived, Lab: "LAB"}, dir: "DIR", report: "REPORT"}
	tests := []struct{ node, want string }{
		{"n1", `global_defs {
    router_id n1
    vrrp_version 3
    vrrp_notify_fifo DIR/n1/notify
}
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 77
    priority 150
    advert_int 0.5
    virtual_ipaddress {
        10.77.0.100/24
    }
}
vrrp_instance VI_2 {
    state BACKUP
    interface eth0
    virtual_router_id 78
    priority 100
    advert_int 0.5
    nopreempt
    virtual_ipaddress {
        10.77.0.101/24
    }
}
static_routes {
}
`},
		{"n2", "# with DIR/mesh.key and LAB lab service --do=start --node=n2 --dir=DIR/n2 --report=REPORT\n"},
	}
	for _, tt := range tests {
		for _, h := range s.Hosts {
			if h.Name != tt.node {
				continue
			}
			got := files.config(&host{Host: h, dir: filepath.Join("DIR", h.Name)}, scenario.Keepalived)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: %s", tt.node, diff)
			}
		}
	}
}
