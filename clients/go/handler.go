package packhorse

import (
	"context"
	"slices"
	"sync"
)

// HandlerOptions say what a Handler does.
type HandlerOptions struct {
	// Func deals with an outcome. When it returns nil the broker is told; after an error it is called
	// again, ever later. An outcome may come more than once.
	Func        func(ctx context.Context, outcome *Outcome) error
	Groups      []string // of which the client is a member
	Concurrency int      // functions at once; 0: one
}

// Handler deals with the outcomes that nobody waits for. Stop it.
type Handler struct {
	client  *Client
	options HandlerOptions
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	joining *subscription[Done]

	mu    sync.Mutex
	queue []*Outcome // the broker bounds how many it sends
	fresh chan struct{}
}

// Handle begins to deal with outcomes: those that the client is owed itself, and those of groups. A
// client has one handler at a time.
func (c *Client) Handle(ctx context.Context, options HandlerOptions) (*Handler, error) {
	h := &Handler{client: c, options: options, fresh: make(chan struct{}, 1)}
	h.ctx, h.cancel = context.WithCancel(c.ctx)
	h.joining = newSubscription(c, h.join, onlyAnswer)
	b := c.outcomes
	b.mu.Lock()
	if b.handler != nil {
		b.mu.Unlock()
		return nil, &InvalidError{Field: "handle", Why: "the client has a handler"}
	}
	b.handler = h
	for key := range b.open {
		b.offer(key)
	}
	b.mu.Unlock()
	for range max(options.Concurrency, 1) {
		h.workers.Add(1)
		spawned := c.spawn(func(context.Context) {
			defer h.workers.Done()
			h.work()
		})
		if !spawned {
			h.workers.Done()
		}
	}
	h.joining.begin()
	if len(options.Groups) > 0 {
		if err := h.joining.granted(ctx); err != nil {
			_ = h.Stop(ctx)
			return nil, err
		}
	}
	return h, nil
}

// Stop leaves the groups and waits for the functions that run. What was not dealt with goes to
// another member of its group, or comes again to the next handler of this client.
func (h *Handler) Stop(ctx context.Context) error {
	h.cancel()
	h.joining.end(nil)
	b := h.client.outcomes
	b.mu.Lock()
	if b.handler == h {
		b.handler = nil
	}
	h.mu.Lock()
	queue := h.queue
	h.queue = nil
	h.mu.Unlock()
	for _, o := range queue {
		h.giveBack(o)
	}
	b.mu.Unlock()
	leaving, cancel := context.WithTimeout(h.client.ctx, releaseWait)
	defer cancel()
	_ = subscribe(leaving, h.client, h.leave, onlyAnswer)
	done := make(chan struct{})
	go func() {
		h.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// giveBack makes an outcome nobody's again; with the book held.
func (h *Handler) giveBack(o *Outcome) {
	key, b := outcomeKey{o.Job, o.Group}, h.client.outcomes
	if o.Group == "" || b.handler != nil && slices.Contains(b.handler.options.Groups, o.Group) {
		b.giveBack(o) // also where it came again for the next handler, while this one had it
	} else if b.open[key] == o { // it goes to another member
		delete(b.open, key)
		delete(b.taken, key)
	}
}

// join makes the client a member of the groups.
func (h *Handler) join() Request[Done] {
	if len(h.options.Groups) == 0 || h.ctx.Err() != nil {
		return nil
	}
	return &joinMessage{Groups: h.options.Groups}
}

// leave leaves all groups, unless another handler has taken over.
func (h *Handler) leave() Request[Done] {
	b := h.client.outcomes
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(h.options.Groups) == 0 || b.handler != nil {
		return nil
	}
	return &joinMessage{}
}

func (h *Handler) add(o *Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = append(h.queue, o)
	h.wake()
}

func (h *Handler) wake() {
	select {
	case h.fresh <- struct{}{}:
	default:
	}
}

// next takes the oldest outcome, and wakes another worker if there are more.
func (h *Handler) next() *Outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 {
		return nil
	}
	o := h.queue[0]
	if h.queue = h.queue[1:]; len(h.queue) > 0 {
		h.wake()
	}
	return o
}

func (h *Handler) work() {
	for h.ctx.Err() == nil {
		o := h.next()
		if o == nil {
			select {
			case <-h.fresh:
			case <-h.ctx.Done():
			}
			continue
		}
		if h.deal(o) {
			h.client.outcomes.handled(o)
			continue
		}
		b := h.client.outcomes
		b.mu.Lock()
		h.giveBack(o)
		b.mu.Unlock()
	}
}

// deal calls the function until it has dealt with the outcome, or the handler stops.
func (h *Handler) deal(o *Outcome) bool {
	for tries := 0; ; tries++ {
		err := h.options.Func(h.ctx, o)
		if err == nil {
			return true
		}
		h.client.options.Logger.Warn("packhorse: an outcome was not dealt with", "job", o.Job, "error", err)
		if sleep(h.ctx, backoff(tries)) != nil {
			return false
		}
	}
}
