// Package gate silences a VIP in the kernel when the permission to hold it ends,
// whether or not the daemon still runs then: frozen, killed or starved, the VIP
// falls silent at its deadline.
//
// A Gate is two nftables tables of one name, inet and arp, with two kinds of sets:
// "vips" names the guarded VIPs, "armed" names those that may speak, each element with
// a timeout. A guarded VIP that is not armed neither receives (inet prerouting) nor
// sends (inet output, and postrouting for what is translated to it), and there is no
// ARP and no neighbour discovery for it. The kernel checks the timeout at every
// look-up, so that nothing has to run for the gate to close.
//
//	  Arm(until)                      renewals                         until
//	----|-----------------|-----------------|------------------------|--|-------> boot clock
//	    VIP may speak ........................................ closes ^  ^ deadline
//	                                                           at most slack
//	                                                           and two ticks earlier
//
// A VIP may also be hushed: then nobody finds it here by ARP or neighbour discovery unless it is
// armed. A standby hushes what it might hold, for an address that an operator's hand, a script
// or another program puts on it.
//
// Order of use: Hush at the start, Guard before the VIP is put on an interface, Arm with
// each renewal of the permission, Shut to let go at once, Unguard after the VIP was shown
// to be off.
// Open takes over what a daemon that died left behind: its VIPs stay guarded, and all
// are shut. Watch, beside all that, puts back what others remove.
//
// What it does not do. It decides nothing: deadlines come from the arbiter. It is not
// passed by packet sockets, so our own gratuitous ARP is not its concern, nor by what a
// flowtable, XDP or tc forwards. It knows ARP on Ethernet only. The kernel's timeouts
// stand still while the machine is suspended, and the boot clock does not: after a
// resume the daemon must call Restore before anything else.
//
// Start reading at Gate.Arm; rules.go holds the rules.
package gate
