// Package vrrp speaks the Virtual Router Redundancy Protocol over IPv4: version 2 (RFC
// 3768, with the password of RFC 2338) and version 3 (RFC 5798 and RFC 9568), with the
// timing and the habits of keepalived 2.2.7 as measured on the wire. docs/rfc.md lists
// the paragraphs, the tests that hold them, and where we differ and why.
//
// It is pure: it opens no socket, sets no address, starts nothing and reads no clock,
// and it never decides alone that this node may hold a virtual address. Sockets are
// vrrp/rawip, addresses and gratuitous ARP are vrrp/vip, permission is arbiter, and
// package node composes them.
//
// Start reading at Machine.Step. An event and the time go in, ordered actions come
// out; Deadline says when the next Tick is due:
//
//	m, err := vrrp.New(cfg)
//	...
//	for _, a := range m.Step(now, vrrp.Start{}) {
//		switch a := a.(type) {
//		case vrrp.Send: // a.Packet.Append, then to the group or to each peer
//		case vrrp.Want: // addresses on, then m.Step(now, vrrp.Grant{})
//		case vrrp.Changed: // out of MASTER: addresses off
//		...
//		}
//	}
//
// The states. MASTER is what RFC 9568 calls Active; what stands in brackets is done on
// the way:
//
//	              Start                         Grant
//	                                        [advert, GARP]
//	+------+ ---------------> +----------+ ----------------> +----------+
//	| INIT |                  |  BACKUP  |                   |  MASTER  |
//	+------+ <--------------- +----------+ <---------------- +----------+
//	  |  ^        Stop          |     ^    Yield [priority 0]   |    |
//	  |  |                      |     |    better advert heard  |    |
//	  |  |                      |     |    (not ByPermission)   |    |
//	  |  |      SetFault{true}  |     |  SetFault{false}        |    |
//	  |  |                      v     |                         |    |
//	  |  |        Stop        +----------+   SetFault{true}     |    |
//	  |  +------------------- |  FAULT   | <--------------------+    |
//	  |                       +----------+   [priority 0]            |
//	  |  Start, with a fault       ^                                 |
//	  +----------------------------+                                 |
//	     ^                                                           |
//	     +-----------------------------------------------------------+
//	                          Stop [priority 0]
//
// Inside BACKUP, with the defaults of three adverts and no delay:
//
//	advert     1.5 intervals          3 intervals + skew time
//	  |--------------|-------------------------|----------|----------> time
//	            Overdue{}                   Want{}     Want{} ... each interval
//	                                                   until Grant or Unwant
package vrrp
