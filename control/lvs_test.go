package control

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/solovip/solovip/lvs"
)

var balancing = lvs.Snapshot{Known: true, Servers: []lvs.ServerStatus{{
	Name: "10.0.0.1 80 TCP", Services: []string{"TCP 10.0.0.1:80"}, Quorum: true, SinceMS: 7,
	Reals: []lvs.RealStatus{{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Up: true, Connections: &lvs.Connections{Active: 3}}},
}}}

// Virtual servers have a socket of their own, of which nothing is asked about claims.
func TestVirtualServersAreAskedAndOperated(t *testing.T) {
	dir := t.TempDir()
	if _, err := DialLVS(dir); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no worker for virtual servers") {
		t.Errorf("where there is none: %v", err)
	}
	socket, err := Listen(LVSDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	var said []OperateRequest
	server := Server{
		LVS: func() lvs.Snapshot { return balancing },
		Operate: func(_ context.Context, r OperateRequest) (string, error) {
			said = append(said, r)
			if r.Kind == lvs.Disable {
				return "", errors.New("there is no such real server")
			}
			return "it is so", nil
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, socket) }()
	client, err := DialLVS(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.LVS(ctx)
	if diff := cmp.Diff(balancing, got, cmpopts.EquateComparable(netip.AddrPort{})); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	weigh := OperateRequest{Server: "web", Real: netip.MustParseAddrPort("[2001:db8::1]:0"), Override: lvs.Override{Kind: lvs.OverrideWeight, Weight: 9}}
	if text, err := client.Operate(ctx, weigh); err != nil || text != "it is so" {
		t.Errorf("%q, %v", text, err)
	}
	off := OperateRequest{Real: netip.MustParseAddrPort("10.0.0.2:80"), Override: lvs.Override{Kind: lvs.Disable}}
	if _, err := client.Operate(ctx, off); err == nil || errors.Is(err, ErrUnreachable) || err.Error() != "there is no such real server" {
		t.Errorf("a refusal came as %v", err)
	}
	if diff := cmp.Diff([]OperateRequest{weigh, off}, said, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("heard -want +got:\n%s", diff)
	}
	if _, err := client.Snapshot(ctx); err == nil {
		t.Error("it tells of claims")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
