package packhorse

import (
	"context"
	"sync"
	"time"
)

const (
	crowd     = 200         // outcomes that are not handled, from which on the broker may hold back others
	firstLook = time.Second // at a job that is waited for; then ever less often
	lookEvery = 15 * time.Second
)

// outcomeKey tells outcomes apart: a client may get a job's for itself and for a group.
type outcomeKey struct{ job, group string }

// outcomeBook holds the outcomes that came and are not handled, and who waits for some.
type outcomeBook struct {
	client  *Client
	mu      sync.Mutex
	open    map[outcomeKey]*Outcome // came, and the broker does not know yet that they were handled
	taken   map[outcomeKey]bool     // of these, what somebody has
	waiting map[*waiter]bool
	handler *Handler
	// creating counts the unanswered creates behind an outcome, which waits for them: repeated after the
	// job was handled and is gone, they would make it once more.
	creating map[outcomeKey]int
	owed     tally // answers to `handled`
}

// waiter is one call of Wait.
type waiter struct {
	job     string
	outcome chan *Outcome
	look    chan struct{} // it may have to ask again whether the job exists
}

func newOutcomeBook(c *Client) *outcomeBook {
	return &outcomeBook{
		client: c, open: map[outcomeKey]*Outcome{}, taken: map[outcomeKey]bool{}, waiting: map[*waiter]bool{},
		creating: map[outcomeKey]int{},
	}
}

// Wait waits for a job's outcome as a handler of it, and answers that it was handled. The job may be
// anybody's. A FAILED job is no error here: see Outcome.Err.
func (c *Client) Wait(ctx context.Context, job string) (*Outcome, error) {
	w := c.outcomes.enter(job)
	defer c.outcomes.leave(w)
	return c.outcomes.wait(ctx, w)
}

func (b *outcomeBook) wait(ctx context.Context, w *waiter) (*Outcome, error) {
	wait := firstLook
	for len(w.outcome) == 0 {
		ended, err := askOne(ctx, b.client, &Handle{Jobs: []string{w.job}}, repeat)
		if len(w.outcome) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		finished := ended.State == StateComplete || ended.State == StateFailed
		look := wait
		if finished {
			look = b.pushWait()
		}
		timer := time.NewTimer(look)
		select {
		case o := <-w.outcome:
			w.outcome <- o
		case <-w.look:
		case <-timer.C:
			// The broker holds outcomes back while many are not handled.
			if finished {
				b.fetch(ctx, w.job)
			}
			wait = min(2*wait, lookEvery)
		case <-ctx.Done():
		case <-b.client.Done():
		}
		timer.Stop()
	}
	o := <-w.outcome
	b.handled(o)
	return o, nil
}

func (b *outcomeBook) enter(job string) *waiter {
	w := &waiter{job: job, outcome: make(chan *Outcome, 1), look: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[w] = true
	b.offer(outcomeKey{job: job})
	return w
}

// leave ends a wait. What it got and did not take is nobody's again.
func (b *outcomeBook) leave(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, w)
	select {
	case o := <-w.outcome:
		b.giveBack(o)
	default:
	}
}

// giveBack offers an outcome again, unless a newer one has taken its place; with the book held.
func (b *outcomeBook) giveBack(o *Outcome) {
	key := outcomeKey{o.Job, o.Group}
	if b.open[key] == o {
		b.taken[key] = false
		b.offer(key)
	}
}

// pushWait is how long the outcome of a job that has ended may take, before it is fetched.
func (b *outcomeBook) pushWait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) >= crowd {
		return 0
	}
	return 100 * time.Millisecond
}

// fetch gets the outcome of a job that has ended without its push.
func (b *outcomeBook) fetch(ctx context.Context, job string) {
	v, err := askOne(ctx, b.client, &Get{Jobs: []string{job}}, repeat)
	if err != nil || v.State != StateComplete && v.State != StateFailed {
		return
	}
	b.pushed([]Outcome{{
		Job: v.ID, Type: v.Type, State: v.State, Version: v.Version, Reason: v.Reason, Result: v.Result, Error: v.Error,
		Key: v.Key, Attempt: v.CurrentAttempt, CreatedAt: v.CreatedAt, StartedAt: v.StartedAt, FinishedAt: v.FinishedAt,
		Expired: v.Expired,
	}})
}

// pushed takes outcomes in. One that is known is on its way already.
func (b *outcomeBook) pushed(outcomes []Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range outcomes {
		o := &outcomes[i]
		key := outcomeKey{o.Job, o.Group}
		if known := b.open[key]; known != nil && isKnown(known, o) {
			continue
		}
		b.open[key], b.taken[key] = o, false
		b.offer(key)
	}
}

// isKnown tells whether an outcome is the known one, or of a former end. The version may have grown
// since the end, as when another handler has left.
func isKnown(known, o *Outcome) bool {
	return known.CreatedAt == o.CreatedAt && (known.FinishedAt == o.FinishedAt || known.Version >= o.Version)
}

// offer gives an outcome to those who wait for it, else to the handler.
func (b *outcomeBook) offer(key outcomeKey) {
	o := b.open[key]
	if o == nil || b.taken[key] || b.creating[key] > 0 {
		return
	}
	for w := range b.waiting {
		if key.group == "" && w.job == key.job && len(w.outcome) == 0 {
			w.outcome <- o
			b.taken[key] = true
		}
	}
	if b.handler != nil && !b.taken[key] {
		b.taken[key] = true
		b.handler.add(o)
	}
}

// creates holds the outcomes of jobs back, until what it returns is called.
func (b *outcomeBook) creates(q *Create) (answered func()) {
	count := func(n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i := range q.Jobs {
			for _, key := range []outcomeKey{{job: q.Jobs[i].ID}, {q.Jobs[i].ID, q.Group}} {
				if b.creating[key] += n; b.creating[key] == 0 {
					delete(b.creating, key)
					b.offer(key)
				}
			}
		}
	}
	count(1)
	return func() { count(-1) }
}

// handled tells the broker that an outcome was dealt with; it is known until the broker knows.
func (b *outcomeBook) handled(o *Outcome) {
	key := outcomeKey{o.Job, o.Group}
	b.owed.add(1)
	begun := b.client.spawn(func(ctx context.Context) {
		defer b.owed.add(-1)
		_, err := askOne(ctx, b.client, &Handled{Jobs: []string{o.Job}, Group: o.Group}, persist)
		if err != nil && !IsCode(err, CodeNotFound) && !IsCode(err, CodeNotHandler) {
			b.client.options.Logger.Warn("packhorse: an outcome may come again", "job", o.Job, "error", err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.open[key] == o {
			delete(b.open, key)
			delete(b.taken, key)
		}
	})
	if !begun {
		b.owed.add(-1)
	}
}

// removed wakes those who wait for jobs that may be gone.
func (b *outcomeBook) removed(events []Event) {
	for _, e := range events {
		if e.Removed {
			b.lookAgain(func(w *waiter) bool { return w.job == e.Job })
		}
	}
}

// began is told that a connection begins; a client that was forgotten handles nothing any more.
func (b *outcomeBook) began(lost bool) {
	if lost {
		b.lookAgain(func(*waiter) bool { return true })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.handler != nil {
		b.handler.joining.begin()
	}
}

func (b *outcomeBook) lookAgain(which func(*waiter) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.waiting {
		if which(w) {
			select {
			case w.look <- struct{}{}:
			default:
			}
		}
	}
}

// stop ends the handler, without waiting for its functions.
func (b *outcomeBook) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.handler != nil {
		b.handler.cancel()
	}
}
