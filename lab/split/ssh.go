package split

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// SSH is what a cut must not take away: the ways in which somebody works on this host.
type SSH struct {
	Ports   []uint16     // TCP: 22, those that an sshd here listens on, and those of sessions
	Remotes []netip.Addr // the other sides of the sessions
}

// sshPort is the port of SSH (RFC 4253 section 4.1).
const sshPort = 22

// FindSSH looks for the sessions of this host: the one that the environment variable
// SSH_CONNECTION names, which is given and may be empty, and those of every process whose
// name begins with ssh. The second way is for who works through sudo, which hides the
// variable. Only root sees whose connection is whose.
func FindSSH(connection string) (SSH, error) {
	s := SSH{Ports: []uint16{sshPort}}
	if words := strings.Fields(connection); len(words) == 4 { // client, its port, server, its port
		remote, err := netip.ParseAddr(words[0])
		port, err2 := strconv.ParseUint(words[3], 10, 16)
		if err := errors.Join(err, err2); err != nil {
			return SSH{}, fmt.Errorf("read SSH_CONNECTION (%q): %w", connection, err)
		}
		s.add(remote, uint16(port))
	}
	conns, err := connections()
	if err != nil {
		return SSH{}, err
	}
	server, client, err := sshSockets()
	if err != nil {
		return SSH{}, err
	}
	for _, c := range conns {
		switch {
		case server[c.inode]:
			s.add(c.remote.Addr(), c.local.Port())
		case client[c.inode]:
			s.add(c.remote.Addr(), c.remote.Port())
		}
	}
	slices.Sort(s.Ports)
	s.Ports = slices.Compact(s.Ports)
	return s, nil
}

func (s *SSH) add(remote netip.Addr, port uint16) {
	s.Ports = append(s.Ports, port)
	if remote = remote.Unmap().WithZone(""); !remote.IsUnspecified() && !remote.IsLoopback() { // a listener has no other side
		s.Remotes = append(s.Remotes, remote)
	}
}

// sshSockets returns the sockets, by inode, of the processes that serve SSH, and of those
// that use it.
func sshSockets() (server, client map[uint64]bool, err error) {
	server, client = map[uint64]bool{}, map[uint64]bool{}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, nil, fmt.Errorf("list processes: %w", err)
	}
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(comm), "ssh") {
			continue // it may have ended
		}
		of := client
		if strings.HasPrefix(string(comm), "sshd") {
			of = server
		}
		fds, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "fd", "*")) // the pattern is good
		for _, fd := range fds {
			target, err := os.Readlink(fd)
			number, ok := strings.CutPrefix(target, "socket:[")
			if err != nil || !ok {
				continue
			}
			if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
				of[inode] = true
			}
		}
	}
	return server, client, nil
}

// connection is a TCP socket, as /proc shows it.
type connection struct {
	local, remote netip.AddrPort
	inode         uint64
}

// connections lists the TCP sockets of the calling thread's network namespace.
func connections() ([]connection, error) {
	var all []connection
	for _, name := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			words := strings.Fields(line)
			const inodeAt = 9
			if i == 0 || len(words) <= inodeAt { // the heading
				continue
			}
			c := connection{}
			var err1, err2, err3 error
			c.local, err1 = hexAddrPort(words[1])
			c.remote, err2 = hexAddrPort(words[2])
			c.inode, err3 = strconv.ParseUint(words[inodeAt], 10, 64)
			if err := errors.Join(err1, err2, err3); err != nil {
				return nil, fmt.Errorf("read %s, line %d: %w", name, i+1, err)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// hexAddrPort reads an address as /proc writes it: words of 32 bits in the order of this
// machine, a colon, the port.
func hexAddrPort(word string) (netip.AddrPort, error) {
	addr, port, _ := strings.Cut(word, ":")
	b, err := hex.DecodeString(addr)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", word)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q has no port: %w", word, err)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, uint16(n)), nil
}

// Survives reports why a cut would end a session: it drops ARP, and the session's next hop
// is a peer. A session that is there keeps its ports, but not its neighbour.
func (s *SSH) Survives(c Cut) error {
	if !c.drops(ARP) {
		return nil
	}
	for _, remote := range s.Remotes {
		hop, _, err := nextHop(remote)
		if err != nil {
			return err
		}
		if slices.Contains(c.Peers, hop) {
			return fmt.Errorf("the SSH session from %s reaches this host through %s: without ARP it would end; "+
				"leave arp out, say ip in place of all, or work from the console", remote, hop)
		}
	}
	return nil
}

// LinksTo returns the interfaces by which this host reaches the addresses without a router;
// an address with a zone names its own.
func LinksTo(addrs []netip.Addr) ([]string, error) {
	var links []string
	for _, a := range addrs {
		hop, link := a, a.Zone()
		if link == "" {
			var err error
			if hop, link, err = nextHop(a); err != nil {
				return nil, err
			}
		}
		if hop == a && !slices.Contains(links, link) {
			links = append(links, link)
		}
	}
	return links, nil
}

// nextHop returns who gets what is sent to an address, and by which interface.
func nextHop(to netip.Addr) (hop netip.Addr, link string, err error) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return netip.Addr{}, "", fmt.Errorf("find the way to %s: %w", to, err)
	}
	found, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return netip.Addr{}, "", fmt.Errorf("find the interface to %s: %w", to, err)
	}
	hop = to
	if gateway, ok := netip.AddrFromSlice(routes[0].Gw); ok {
		hop = gateway.Unmap()
	}
	return hop, found.Attrs().Name, nil
}
