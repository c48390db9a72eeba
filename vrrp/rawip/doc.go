// Package rawip carries VRRP adverts: raw IPv4 sockets for protocol 112, multicast or
// unicast (RFC 9568 section 5.1).
//
// It knows nothing of what is in an advert but where the virtual router identifier
// (VRID) stands, which a filter in the kernel looks at: a host with 255 instances does
// not wake 255 readers for each packet. It checks no sender and no TTL; it hands both up,
// because what they prove differs between multicast and unicast and between
// configurations.
//
// Start at Open.
//
//	conn, err := rawip.Open(rawip.Config{Interface: "eth0", VRID: 51})
//	...
//	for _, to := range conn.Destinations() {
//		err = conn.Send(advert, to)
//	}
//	datagram, err := conn.Receive()
//	if err == nil && datagram.TTLAllowed() {
//		...
//	}
package rawip
