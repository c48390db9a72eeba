package turns

import "sync"

// Turns are those of runs on one machine. The zero Turns is ready. It is safe for concurrent use.
type Turns struct{ crowd sync.RWMutex }

// Take does something beside what others do, or alone, when all of them have done.
func (t *Turns) Take(alone bool, do func()) {
	turn := t.crowd.RLocker()
	if alone {
		turn = &t.crowd
	}
	turn.Lock()
	defer turn.Unlock()
	do()
}
