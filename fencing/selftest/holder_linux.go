package selftest

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/solovip/solovip/fencing/gate"
	"github.com/solovip/solovip/internal/boottime"
	"github.com/solovip/solovip/vrrp/vip"
)

// How the throw-away address is held.
const (
	hold  = time.Second
	renew = 200 * time.Millisecond
)

// What is in the namespaces. The addresses are link-local ones: they mean nothing outside.
var (
	vipAddr   = netip.MustParsePrefix("169.254.77.100/24") //nolint:gochecknoglobals // a table
	stageAddr = netip.MustParsePrefix("169.254.77.1/24")   //nolint:gochecknoglobals // a table
	eyeAddr   = netip.MustParsePrefix("169.254.77.2/24")   //nolint:gochecknoglobals // a table
	arpAddr   = netip.MustParseAddr("169.254.77.3")        //nolint:gochecknoglobals // a table
)

const (
	stageLink = "solovip0"
	eyeLink   = "solovip1"
	gateTable = "solovip_selftest"
)

// runHolder holds the address as a daemon does, and says each deadline before it is armed,
// until it is killed.
func runHolder(out io.Writer) error {
	g, err := gate.Open(gateTable, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	k, err := vip.Open()
	if err != nil {
		return err
	}
	addrs := []netip.Addr{vipAddr.Addr()}
	if err := g.Guard(addrs); err != nil {
		return err
	}
	for {
		until := boottime.Now().Add(hold)
		if _, err := fmt.Fprintln(out, until.UnixNano()); err != nil {
			return err
		}
		if err := g.Arm(until, addrs); err != nil {
			return err
		}
		if err := k.Add(vip.Address{Prefix: vipAddr, Interface: stageLink}, until.Sub(boottime.Now())); err != nil {
			return err
		}
		time.Sleep(renew)
	}
}
