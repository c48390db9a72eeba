package sim

import "time"

// Story is a random sequence of faults.
type Story struct {
	Length time.Duration
}

// Tell schedules the story in the world: hosts start, then faults come and go.
func (s Story) Tell(w *World) {
	for _, h := range w.Hosts {
		w.After(time.Duration(w.Rand.Int64N(int64(3*time.Second))), h.Start)
	}
	at := 5 * time.Second
	for {
		if at += time.Duration(w.Rand.Int64N(int64(8 * time.Second))); at >= s.Length {
			return
		}
		w.After(at, w.fault)
	}
}

// fault does one random thing.
func (w *World) fault() {
	h := w.Hosts[w.Rand.IntN(len(w.Hosts))]
	other := w.Hosts[w.Rand.IntN(len(w.Hosts))].Name
	if w.Rand.IntN(2) == 0 {
		other = witnessName
	}
	switch w.Rand.IntN(12) {
	case 0, 1:
		h.Crash()
	case 2, 3:
		h.Start()
	case 4:
		h.Stop()
	case 5:
		k := Kind(w.Rand.IntN(int(kinds)))
		w.note("cut %s -> %s, kind %d", h.Name, other, k)
		w.Cut(h.Name, other, k)
	case 6:
		w.note("cut %s <-> %s", h.Name, other)
		w.CutBoth(h.Name, other, All()...)
	case 7:
		w.Loss = w.Rand.Float64() * 0.3
		w.note("loss %.2f", w.Loss)
	case 8:
		w.Delay = time.Duration(1 + w.Rand.Int64N(int64(300*time.Millisecond)))
		w.note("delay up to %v", w.Delay)
	case 9:
		w.Store.Up = !w.Store.Up
		w.note("witness up: %v", w.Store.Up)
	default:
		w.note("all links heal")
		w.Heal()
		w.Loss, w.Delay = 0, 2*time.Millisecond
	}
}

// Calm ends all faults and starts every host that is off.
func Calm(w *World) {
	w.note("calm")
	w.Heal()
	w.Loss, w.Delay, w.Store.Up = 0, 2*time.Millisecond, true
	for _, h := range w.Hosts {
		h.Start()
	}
}
