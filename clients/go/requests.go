package packhorse

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// requests is what was asked of the broker and is not answered yet, across connections. Items that
// are asked for at the same time, by whomever, leave in one frame.
type requests struct {
	mu      sync.Mutex
	lanes   map[laneKey]*lane
	order   []*lane // those in which something waits, in turn
	flights map[int64]*flight
	id      int64
	limits  Limits
	ended   error
	wake    chan struct{} // tells the writer that something is to be sent

	connection   context.Context // until it takes no requests any more
	disconnect   context.CancelCauseFunc
	registration int // how often the broker has forgotten this client
}

// flight is a request that left and has no answer.
type flight struct {
	lane  *lane
	calls []*call
}

func (f *flight) fail(err error) {
	for _, c := range f.calls {
		c.done <- answer{err: err}
	}
}

func newRequests() *requests {
	r := &requests{lanes: map[laneKey]*lane{}, flights: map[int64]*flight{}, wake: make(chan struct{}, 1)}
	r.connection, r.disconnect = context.WithCancelCause(context.Background())
	r.disconnect(ErrDisconnected)
	return r
}

// ask sends a request's items, and returns when each is answered, refused for good, or ctx ends.
func (r *requests) ask(ctx context.Context, q wireRequest, p policy) ([]answer, error) {
	calls, err := split(ctx, q, p)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(calls))
	waiting := make([]int, len(calls))
	for i := range calls {
		waiting[i] = i
	}
	for len(waiting) > 0 {
		r.submit(calls, waiting)
		var again []int
		var wait time.Duration
		for _, i := range waiting {
			select {
			case answers[i] = <-calls[i].done:
			case <-ctx.Done():
				r.withdraw(calls[0].lane, len(waiting))
				return nil, context.Cause(ctx)
			}
			if delay, ok := calls[i].again(answers[i].err); ok {
				again, wait = append(again, i), max(wait, delay)
			}
		}
		waiting = again
		if len(again) > 0 {
			if err := sleep(ctx, wait); err != nil {
				return nil, err
			}
		}
	}
	return answers, nil
}

func (r *requests) submit(calls []*call, which []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range which {
		if r.ended != nil {
			calls[i].done <- answer{err: r.ended}
			continue
		}
		l := r.busyLane(calls[i].lane)
		l.calls = append(l.calls, calls[i])
	}
	r.wakeWriter()
}

// withdraw takes out what waits of callers that have gone; only when they may be half of a lane, as it
// has to look at all of it.
func (r *requests) withdraw(key laneKey, calls int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lanes[key]
	if l == nil {
		return
	}
	if l.withdrawn += calls; 2*l.withdrawn < len(l.calls) {
		return
	}
	l.withdrawn = 0
	l.calls = slices.DeleteFunc(l.calls, func(c *call) bool { return c.ctx.Err() != nil })
	if len(l.calls) == 0 {
		delete(r.lanes, key)
		r.order = slices.DeleteFunc(r.order, func(other *lane) bool { return other == l })
	}
}

func (r *requests) wakeWriter() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// busyLane finds the lane of a key; something is about to wait in it.
func (r *requests) busyLane(key laneKey) *lane {
	l := r.lanes[key]
	if l == nil {
		l = &lane{key: key}
		r.lanes[key] = l
		r.order = append(r.order, l)
	}
	return l
}

// next is the next frame to send, nil if there is none for now.
func (r *requests) next() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.connection.Err() == nil && len(r.order) > 0 && int64(len(r.flights)) < max(r.limits.InFlight, 1) {
		l := r.order[0]
		calls := l.take(&r.limits, r.registration)
		r.order = r.order[1:]
		if len(l.calls) > 0 {
			r.order = append(r.order, l)
		} else {
			delete(r.lanes, l.key)
		}
		if len(calls) > 0 {
			r.id++
			r.flights[r.id] = &flight{l, calls}
			return l.encode(r.id, calls)
		}
	}
	return nil
}

// connected lets requests leave.
func (r *requests) connected(limits Limits) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits = limits
	r.connection, r.disconnect = context.WithCancelCause(context.Background())
	r.wakeWriter()
}

// pause lets nothing more leave; answers still come.
func (r *requests) pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disconnect(ErrDisconnected)
}

// isOpen tells whether requests leave now.
func (r *requests) isOpen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connection.Err() == nil
}

// whileConnected is a context that ends with ctx, and at once when the connection of now takes no more
// requests: so what is asked with it leaves on no other one.
func (r *requests) whileConnected(ctx context.Context) (context.Context, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bound, cancel := context.WithCancelCause(r.connection)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return bound, func() {
		stop()
		cancel(nil)
	}
}

func (r *requests) unanswered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flights)
}

// disconnected makes what was unanswered wait again, in the order in which it had left, before all that
// had not.
func (r *requests) disconnected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disconnect(ErrDisconnected)
	waiting := r.order
	r.order, r.lanes = nil, map[laneKey]*lane{}
	for _, id := range slices.Sorted(maps.Keys(r.flights)) {
		f := r.flights[id]
		for _, c := range f.calls {
			c.lost = true
			if c.policy == once {
				c.done <- answer{err: ErrDisconnected}
			} else if c.ctx.Err() == nil {
				l := r.busyLane(f.lane.key)
				l.calls = append(l.calls, c)
			}
		}
	}
	for _, l := range waiting {
		former := r.busyLane(l.key)
		former.calls = append(former.calls, l.calls...)
	}
	clear(r.flights)
}

// forgotten is told that the broker had removed this client.
func (r *requests) forgotten() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registration++
}

func (r *requests) putBack(key laneKey, calls []*call) {
	if len(calls) > 0 {
		l := r.busyLane(key)
		l.calls = slices.Concat(calls, l.calls)
		r.wakeWriter()
	}
}

// end fails everything, now and from now on.
func (r *requests) end(err error) {
	r.disconnected()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = err
	for _, l := range r.order {
		for _, c := range l.calls {
			c.done <- answer{err: err}
		}
	}
	r.order, r.lanes = nil, map[laneKey]*lane{}
}

// landed takes the flight that an answer belongs to.
func (r *requests) landed(id int64) *flight {
	f := r.flights[id]
	delete(r.flights, id)
	r.wakeWriter()
	return f
}

// answered gives each item of a request its entry.
func (r *requests) answered(m *okMessage) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.landed(m.ID)
	if f == nil {
		return &ProtocolError{Field: "id", Why: "answers no request"}
	}
	if len(m.Results) != len(f.calls) {
		err := &ProtocolError{Field: "results", Why: "has not one entry for each item"}
		f.fail(err)
		return err
	}
	var alone []*call
	for i, c := range f.calls {
		problem, err := problemIn(m.Results[i])
		switch {
		case err != nil:
			c.done <- answer{err: err}
		case problem == nil:
			c.done <- answer{entry: m.Results[i], notMet: m.Durability != ""}
		case problem.Code == string(CodeTooLarge) && len(f.calls) > 1:
			// Its neighbours in the reply may have left no room for it.
			c.alone = true
			alone = append(alone, c)
		default:
			c.refuse(problem.refusal())
		}
	}
	r.putBack(f.lane.key, alone)
	return nil
}

// unreadable fails the request whose answer could not be read.
func (r *requests) unreadable(id int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.landed(id); f != nil {
		f.fail(err)
	}
}

// refused gives each item of a request the refusal of the whole.
func (r *requests) refused(id int64, refusal *Refusal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.landed(id)
	if f == nil {
		return &ProtocolError{Field: "id", Why: "answers no request"}
	}
	apart := len(f.calls) > 1 && (refusal.Code == CodeMalformed || refusal.Code == CodeTooMany)
	for _, c := range f.calls {
		if apart { // one item spoilt it: each goes alone, so that only that one is refused
			c.alone = true
		} else {
			said := *refusal
			c.refuse(&said)
		}
	}
	if apart {
		r.putBack(f.lane.key, f.calls)
	}
	return nil
}
