// Package vip is the kernel's side of a virtual address: it puts the address on an
// interface and takes it off, tells the neighbours by gratuitous ARP, asks them who
// else answers for it, listens for others that speak for it, and reports what happens to
// links and addresses.
//
// It refuses to decide. Whether this node may have an address, and until when, comes
// in as a call (Add with a lifetime, Delete); what the kernel did comes back as a
// result or as an event. It keeps no list of VIPs and never acts on its own.
//
// Three things of Linux shape it:
//
//   - An address may carry a lifetime, which the kernel itself enforces. A VIP that
//     nobody refreshes goes away although the daemon is frozen or dead.
//   - When the first address of a subnet is deleted Linux deletes the others of that
//     subnet too, unless promote_secondaries is on. Kernel turns it on for each
//     interface it works on, so that neither a VIP that leaves takes the host's
//     addresses with it nor the reverse.
//   - Netlink drops notifications when the reader is slow. Watch then starts over
//     from a full dump and reports the difference, so that no change stays unseen.
//
// Start at Kernel. A VIP's life with a deadline 3 s away:
//
//	k, err := vip.Open()
//	...
//	err = k.Add(address, 3*time.Second) // and again with each renewal
//	err = k.Announce(address.Interface, address.Prefix.Addr())
//	...
//	err = k.Delete(address)
package vip
