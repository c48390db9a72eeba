package netns

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/solovip/solovip/vrrp"
	"github.com/solovip/solovip/vrrp/rawip"
)

// forging is how often a host that forges adverts sends one: often enough for a node to
// hear one between any two things it does.
const forging = 100 * time.Millisecond

// forge sends adverts from the host as if it were the owner of the VIP: correct in
// every respect but that nobody has configured it.
func (p *player) forge(ctx context.Context, h *host, length time.Duration) error {
	var conn *rawip.Conn
	err := h.inside(func() (err error) {
		conn, err = rawip.Open(rawip.Config{Interface: iface, Source: h.Addr, VRID: routerID})
		return err
	})
	if err != nil {
		return fmt.Errorf("open a VRRP socket on %s: %w", h.Name, err)
	}
	defer conn.Close()
	advert := vrrp.Packet{
		Version: vrrp.V3, VRID: routerID, Priority: vrrp.PriorityOwner,
		AdvertInterval: p.job.Scenario.AdvertInterval(), Addresses: []netip.Addr{p.job.Scenario.VIP().Addr()},
	}
	payload, err := advert.Append(nil, h.Addr, vrrp.Group())
	if err != nil {
		return fmt.Errorf("forge an advert: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	return steadily(ctx, forging, func() error {
		if err := conn.Send(payload, vrrp.Group()); err != nil {
			return fmt.Errorf("send a forged advert from %s: %w", h.Name, err)
		}
		return nil
	})
}
