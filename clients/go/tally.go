package packhorse

import "sync"

// tally counts what is under way.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when it comes to nothing, if somebody waits for that
}

func (t *tally) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n += n; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// zero is closed when nothing is under way.
func (t *tally) zero() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	none := t.none
	if none == nil {
		none = make(chan struct{})
		if t.n == 0 {
			close(none)
		} else {
			t.none = none
		}
	}
	return none
}

func (t *tally) isZero() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n == 0
}
