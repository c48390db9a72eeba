package ipvs

import (
	"time"

	"github.com/mdlayher/netlink"

	"github.com/solovip/solovip/lvs"
)

// request is one request to the kernel.
type request struct {
	command uint8
	put     func(e *netlink.AttributeEncoder)
}

// requests returns what a step asks of the kernel, one after the other.
func requests(step lvs.Step) []request {
	switch s := step.(type) {
	case lvs.AddService:
		return []request{{cmdNewService, inService(func(e *netlink.AttributeEncoder) { putService(e, s.Key, s.Service) })}}
	case lvs.EditService:
		return []request{{cmdSetService, inService(func(e *netlink.AttributeEncoder) { putService(e, s.Key, s.Service) })}}
	case lvs.DeleteService:
		return []request{{cmdDelService, inService(func(e *netlink.AttributeEncoder) { putKey(e, s.Key) })}}
	case lvs.AddDestination:
		return []request{{cmdNewDest, inBoth(s.Key, func(e *netlink.AttributeEncoder) { putDestination(e, s.Destination) })}}
	case lvs.EditDestination:
		return []request{{cmdSetDest, inBoth(s.Key, func(e *netlink.AttributeEncoder) { putDestination(e, s.Destination) })}}
	case lvs.DeleteDestination:
		return []request{{cmdDelDest, inBoth(s.Key, func(e *netlink.AttributeEncoder) { putDestinationKey(e, s.Addr) })}}
	case lvs.Flush:
		return []request{{command: cmdFlush}}
	case lvs.SetTimeouts:
		return []request{{cmdSetConfig, func(e *netlink.AttributeEncoder) {
			e.Uint32(attrTimeoutTCP, uint32(s.Timeouts.TCP/time.Second))
			e.Uint32(attrTimeoutTCPFin, uint32(s.Timeouts.TCPFin/time.Second))
			e.Uint32(attrTimeoutUDP, uint32(s.Timeouts.UDP/time.Second))
		}}}
	case lvs.SetDaemon:
		// The settings of a daemon that runs cannot be changed.
		out := []request{{cmdDelDaemon, inDaemon(s.Role, nil)}}
		if s.Daemon != nil {
			out = append(out, request{cmdNewDaemon, inDaemon(s.Role, s.Daemon)})
		}
		return out
	}
	panic("ipvs: unknown step")
}

func inService(put func(e *netlink.AttributeEncoder)) func(e *netlink.AttributeEncoder) {
	return func(e *netlink.AttributeEncoder) { in(e, attrService, put) }
}

func inBoth(key lvs.ServiceKey, put func(e *netlink.AttributeEncoder)) func(e *netlink.AttributeEncoder) {
	return func(e *netlink.AttributeEncoder) {
		in(e, attrService, func(e *netlink.AttributeEncoder) { putKey(e, key) })
		in(e, attrDest, put)
	}
}

func inDaemon(role lvs.Role, d *lvs.Daemon) func(e *netlink.AttributeEncoder) {
	return func(e *netlink.AttributeEncoder) {
		in(e, attrDaemon, func(e *netlink.AttributeEncoder) { putDaemon(e, role, d) })
	}
}

// in puts attributes within an attribute.
func in(e *netlink.AttributeEncoder, typ uint16, put func(e *netlink.AttributeEncoder)) {
	e.Nested(typ, func(e *netlink.AttributeEncoder) error {
		put(e)
		return nil
	})
}
