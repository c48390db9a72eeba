package mesh

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/solovip/solovip/arbiter"
	"github.com/solovip/solovip/internal/await"
)

// What comes from those who are not of this cluster is dropped, counted, and logged
// once, with the cause; and none of it disturbs those who are.
func TestStrangersAreCountedAndLoggedOnce(t *testing.T) {
	for _, row := range []struct {
		name     string
		estrange func(cfg *Config)
		count    func(Counts) uint64
		want     string
	}{
		{
			"wrong key", func(c *Config) { c.Key = bytes.Repeat([]byte{8}, keyBytes) },
			func(c Counts) uint64 { return c.WrongKey }, "not encrypted with this cluster's key",
		},
		{
			"no key", func(c *Config) { c.Key, c.Insecure = nil, true },
			func(c Counts) uint64 { return c.WrongKey }, "not encrypted with this cluster's key",
		},
		{
			"another cluster", func(c *Config) { c.Cluster = "core" },
			func(c Counts) uint64 { return c.OtherCluster }, "name=core cluster=edge",
		},
		{"an address that is no member's", func(c *Config) {
			c.Bind = netip.AddrPortFrom(c.Bind.Addr().Next().Next(), c.Bind.Port())
		}, func(c Counts) uint64 { return c.NotMember }, "not in the cluster block"},
		{
			"a name that is no member's", func(c *Config) { c.Name = "lb99" },
			func(c Counts) uint64 { return c.Stranger }, "not in the cluster block",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			peers := loopbackPeers(t, "lb01", "w1", "lb02")
			lb01, w1 := start(t, configOf(peers, 0)), start(t, configOf(peers, 1))
			publish(t, lb01, 1)
			publish(t, w1, 1)
			cfg := configOf(peers, 2)
			row.estrange(&cfg)
			stranger := start(t, cfg)
			publish(t, stranger, 1)

			await.That(t, "eight packets of the stranger counted", func() bool { return row.count(lb01.Counts()) >= 8 })
			lb01.await(t, 0, "w1 alive beside the stranger", alive("w1", true))
			if n := strings.Count(lb01.logged(), row.want); n != 1 {
				t.Errorf("logged %d times with %q, want once:\n%s", n, row.want, lb01.logged())
			}
			for _, e := range lb01.since(0) {
				if s, ok := e.(ReportSeen); (ok && s.Report.Node != "w1") || alive("lb02", true)(e) {
					t.Errorf("the stranger got through: %+v", e)
				}
			}
		})
	}
}

func TestInsecureClusterKnowsPeersByAddress(t *testing.T) {
	peers := loopbackPeers(t, "lb01", "lb02")
	var both []*member
	for i := range peers {
		cfg := configOf(peers, i)
		cfg.Key, cfg.Insecure = nil, true
		m := start(t, cfg)
		publish(t, m, 1)
		both = append(both, m)
	}
	both[0].await(t, 0, "lb02 alive", alive("lb02", true))
	both[0].await(t, 0, "lb02's report", report("lb02", ""))

	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: peers[1].Addr.Next().AsSlice()}, net.UDPAddrFromAddrPort(both[0].cfg.Bind))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	forged := encode(message{kind: kindReports, From: "lb02", Reports: []arbiter.Report{{Node: "lb02", Incarnation: 666}}})
	if _, err := conn.Write(append([]byte("\xf4\x04edge\x08"), forged...)); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the forged packet counted", func() bool { return both[0].Counts().NotMember == 1 })
}

// A connection that is opened and closed, or breaks off, is a lost packet or a probe
// of the port: nothing to warn of.
func TestEmptyStreamIsNotLogged(t *testing.T) {
	peers := loopbackPeers(t, "lb01", "lb02")
	lb01 := start(t, configOf(peers, 0))
	var d net.Dialer
	d.LocalAddr = &net.TCPAddr{IP: peers[1].Addr.AsSlice()}
	await.That(t, "it listens", func() bool {
		conn, err := d.Dial("tcp", lb01.cfg.Bind.String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	conn, err := d.Dial("tcp", lb01.cfg.Bind.String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("\xf4\x04ed")) // counted below, or not
	conn.Close()
	await.That(t, "both are counted", func() bool { return lb01.Counts().Refused == 2 })
	if strings.Contains(lb01.logged(), "dropped") {
		t.Errorf("logged:\n%s", lb01.logged())
	}
}

// A stream that waited in the backlog of a stopped process is told by its age.
func TestStreamAgeIsThatOfTheLastByte(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := out.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	const age = 300 * time.Millisecond
	pass(age)
	if got := streamAge(in.(*net.TCPConn)); got < age-50*time.Millisecond || got > patience {
		t.Errorf("age %v, want %v or a little more", got, age)
	}
}

// garbage returns bytes that begin as those of a real packet or stream do.
func garbage(random *rand.Rand) []byte {
	b := make([]byte, random.IntN(1500))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	switch random.IntN(5) {
	case 0:
		return append([]byte("\xf4\x04edge"), b...)
	case 1:
		return append([]byte("\xf4\x04edge\x01"), b...)
	case 2: // a stream that promises more than it brings, or more than there may be
		head := append([]byte("\xf4\x04edge"), sealedStream)
		return append(binary.BigEndian.AppendUint32(head, random.Uint32N(2*maxStream)), b...)
	case 3:
		return []byte("\xf4\xffedge")
	}
	return b
}

func TestGarbageDisturbsNobody(t *testing.T) {
	all := startAll(t, "lb01", "lb02", "w1")
	random := rand.New(rand.NewPCG(1, 2))
	target := all[0].cfg.Bind
	var strangers []net.Conn
	for _, from := range []netip.Addr{all[1].cfg.Bind.Addr(), all[2].cfg.Bind.Addr().Next()} {
		udp, err := net.DialUDP("udp", &net.UDPAddr{IP: from.AsSlice()}, net.UDPAddrFromAddrPort(target))
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		strangers = append(strangers, udp)
		for range 2 * maxStreams { // some are left open: they must not hold up the others for long
			tcp, err := net.DialTCP("tcp", &net.TCPAddr{IP: from.AsSlice()}, net.TCPAddrFromAddrPort(target))
			if err != nil {
				t.Fatal(err)
			}
			defer tcp.Close()
			_, _ = tcp.Write(garbage(random)) // the other side may have closed it by now
		}
	}
	all[1].Mesh.mu.Lock()
	list := all[1].list
	all[1].Mesh.mu.Unlock()
	throw := func(packets int) {
		for range packets {
			for _, udp := range strangers {
				if _, err := udp.Write(garbage(random)); err != nil {
					t.Fatal(err)
				}
			}
			// And from one who has the key.
			b := garbage(random)
			if len(b) > maxPacket {
				b = b[:maxPacket]
			}
			if len(b) > 0 && random.IntN(2) == 0 {
				b[0] = wireVersion<<4 | byte(random.IntN(5))
			}
			if err := list.SendToAddress(all[1].peer("lb01").to, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	throw(500)
	await.That(t, "the garbage counted", func() bool {
		throw(5) // of so many at once a busy machine may have lost most
		c := all[0].Counts()
		return c.WrongKey > 100 && c.NotMember > 0 && c.OtherCluster > 100 && c.Malformed > 100
	})
	mark := all[0].mark()
	for _, m := range all {
		publish(t, m, 2)
	}
	for _, name := range []string{"lb02", "w1"} {
		all[0].await(t, mark, "a report of "+name+" after it all", func(e Event) bool {
			s, ok := e.(ReportSeen)
			return ok && s.Report.Node == name && s.Report.Incarnation == 2
		})
	}
	if lines := strings.Count(all[0].logged(), "\n"); lines > 20 {
		t.Errorf("logged %d lines:\n%s", lines, all[0].logged())
	}
	all[0].await(t, 0, "lb02 alive in the end", func(Event) bool {
		return slices.ContainsFunc(all[0].Members(), func(m Member) bool { return m.Name == "lb02" && m.Alive })
	})
}

func FuzzReceive(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(encode(m))
	}
	peers := []Peer{{"lb02", netip.MustParseAddr("10.0.0.12")}, {"w1", netip.MustParseAddr("10.0.0.13")}}
	m, err := New(Config{
		Name: "lb01", Cluster: "edge", Bind: netip.MustParseAddrPort("10.0.0.11:7946"),
		Peers: peers, Insecure: true, Logger: slog.New(slog.DiscardHandler), Deliver: func(Event) {},
	})
	if err != nil {
		f.Fatal(err)
	}
	if err := m.Publish(arbiter.Report{Incarnation: 1}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.receive(b)
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("receive blocks")
		}
		if len(m.reports.origins) > len(peers) {
			t.Errorf("%d origins known of %d peers", len(m.reports.origins), len(peers))
		}
		for len(m.events) > 0 {
			switch e := (<-m.events).(type) {
			case ReportSeen:
				if m.peer(e.Report.Node) == nil {
					t.Errorf("a report of %q was delivered", e.Report.Node)
				}
			case Asked:
				if m.peer(e.Request.From) == nil || e.Request.To != "lb01" {
					t.Errorf("%+v was delivered", e)
				}
			case Answered:
				if m.peer(e.Answer.From) == nil || e.Answer.To != "lb01" {
					t.Errorf("%+v was delivered", e)
				}
			case MemberChanged:
				t.Errorf("a message brought %+v", e)
			}
		}
	})
}
