package sim

import "time"

// Kind is what travels on a link, so that it can be cut by itself.
type Kind uint8

// The kinds of traffic.
const (
	VRRP Kind = iota
	Mesh
	Etcd
	kinds
)

// All is every kind of traffic.
func All() []Kind { return []Kind{VRRP, Mesh, Etcd} }

// String returns the kind in lower case.
func (k Kind) String() string { return [...]string{"vrrp", "mesh", "etcd"}[k] }

// maxMembers bounds the hosts of a world, the witness's included.
const maxMembers = 6

// link is one direction between two hosts.
type link struct {
	cut   [kinds]bool
	loss  float64       // of adverts and mesh messages
	delay time.Duration // on top of the network's
}

// network is what lies between the hosts. Messages take their random times each by
// itself, so that they overtake each other.
type network struct {
	links [maxMembers][maxMembers]link
	delay time.Duration // the longest time a message takes
	loss  float64       // of adverts and mesh messages, on every link
	twice float64       // how likely a mesh message or an advert comes twice
}

// quiet is a good local network.
func quiet() network { return network{delay: 2 * time.Millisecond} }

// leastLatency is what the fastest message takes.
const leastLatency = 50 * time.Microsecond

// passes reports whether a message of the kind gets from one member to another.
func (w *World) passes(from, to int, k Kind) bool {
	l := &w.net.links[from][to]
	if l.cut[k] {
		return false
	}
	if k == Etcd {
		return true // a stream: what is lost is sent again, and comes later
	}
	return (w.net.loss == 0 || w.Rand.Float64() >= w.net.loss) && (l.loss == 0 || w.Rand.Float64() >= l.loss)
}

// latency is how long the next message takes.
func (w *World) latency(from, to int, k Kind) time.Duration {
	l := &w.net.links[from][to]
	d := leastLatency + time.Duration(w.Rand.Int64N(int64(w.net.delay+l.delay)))
	if k == Etcd && w.net.loss+l.loss > 0 && w.Rand.Float64() < w.net.loss+l.loss {
		d += resend
	}
	return d
}

// resend is how much later a stream brings what was lost at first.
const resend = 200 * time.Millisecond

// Cut stops traffic of the given kinds from one member to another; Heal lets all through again.
func (w *World) Cut(from, to string, ks ...Kind) {
	w.cut(w.member(from), w.member(to), ks...)
}

// CutBoth cuts in both directions.
func (w *World) CutBoth(a, b string, ks ...Kind) {
	w.Cut(a, b, ks...)
	w.Cut(b, a, ks...)
}

// Heal makes the network a good one again.
func (w *World) Heal() {
	w.note("the network heals")
	w.net = quiet()
	w.look()
}

func (w *World) cut(from, to int, ks ...Kind) {
	w.note("cut %s -> %s: %v", w.memberName(from), w.memberName(to), ks)
	for _, k := range ks {
		w.net.links[from][to].cut[k] = true
	}
	w.look()
}

// isolate cuts a member off from everybody.
func (w *World) isolate(i int) {
	for o := range len(w.Hosts) + 1 {
		if o != i {
			w.cut(i, o, All()...)
			w.cut(o, i, All()...)
		}
	}
}

// reaches reports whether messages of the kind pass both ways and without a fault.
func (w *World) reaches(a, b int, k Kind) bool {
	there, back := &w.net.links[a][b], &w.net.links[b][a]
	return !there.cut[k] && !back.cut[k] && there.loss+back.loss+w.net.loss == 0 &&
		there.delay+back.delay+2*w.net.delay <= w.Shape.Timing.Renew/6
}

// member returns the number of the member of that name.
func (w *World) member(name string) int {
	for i, h := range w.Hosts {
		if h.Name == name {
			return i
		}
	}
	if name != witnessName {
		panic("sim: no member is called " + name)
	}
	return len(w.Hosts)
}

func (w *World) memberName(i int) string {
	if i < len(w.Hosts) {
		return w.Hosts[i].Name
	}
	return witnessName
}
