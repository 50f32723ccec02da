package packhorse

import (
	"context"
	"time"
)

const (
	cancelWait  = time.Second     // of functions that are cancelled, before their claims are given back regardless
	releaseWait = 5 * time.Second // for the broker to take claims back
)

// Work is how a runner runs jobs of one type.
type Work struct {
	Func   Func
	Most   int // at once; 0: as many as the runner's Credit
	Weight int // share of the claims while several types have jobs waiting; 0: 1
}

// RunnerOptions say what a Runner does.
type RunnerOptions struct {
	Types  map[string]Work
	Credit int // jobs at once, in all; 0: 1
	// OnEnded is told when a job is over for this runner; it must not wait for the runner.
	OnEnded func(job *Job, how Ending)
}

// Ending is how a job ended for its runner.
type Ending string

// The endings of a job for its runner.
const (
	EndingComplete  Ending = "complete"
	EndingFailed    Ending = "failed"
	EndingReleased  Ending = "released"
	EndingCancelled Ending = "cancelled"
	EndingRevoked   Ending = "revoked"
	EndingStale     Ending = "stale" // the broker refused what was said of it
)

// Runner runs jobs until it is shut down.
type Runner struct {
	client  *Client
	options RunnerOptions
	taking  *subscription[Done]
	stopped bool // guarded by the client's claims
}

// Run begins to run jobs. A client has one runner at a time: Run waits until the Shutdown of the one
// before has returned, and nothing runs of it.
func (c *Client) Run(ctx context.Context, options RunnerOptions) (*Runner, error) {
	options.Credit = max(options.Credit, 1)
	if options.OnEnded == nil {
		options.OnEnded = func(*Job, Ending) {}
	}
	r := &Runner{client: c, options: options}
	r.taking = newSubscription(c, r.take, onlyAnswer)
	if err := c.claims.admit(ctx, r); err != nil {
		return nil, err
	}
	r.taking.begin()
	if err := r.taking.granted(ctx); err != nil {
		_ = r.Shutdown(ctx) // the broker may have heard it all the same
		return nil, err
	}
	return r, nil
}

// Shutdown takes nothing more and returns when nothing runs. When ctx ends before, the contexts of
// the functions that still run are cancelled and their claims are given back, which spends no
// attempt; then the error is that of ctx.
func (r *Runner) Shutdown(ctx context.Context) error {
	c, b := r.client, r.client.claims
	if !b.stop(r) {
		return nil
	}
	defer b.leaving.add(-1)
	r.taking.end(ErrShutdown)
	// First, so that the broker does not push again what it gets back, also where ctx has ended.
	taking, cancel := context.WithTimeout(c.ctx, releaseWait)
	_ = subscribe(taking, c, r.takeNothing, onlyAnswer)
	cancel()
	b.giveBackWaiting()
	var late error
	if await(ctx, c, b.working.zero()) != nil {
		late = context.Cause(ctx)
		b.shutDown()
		select {
		case <-b.working.zero():
		case <-time.After(cancelWait):
			b.abandon()
		}
	}
	// A bye would lose what the broker has not heard of.
	telling, cancel := context.WithTimeout(c.ctx, releaseWait)
	defer cancel()
	_ = await(telling, c, b.owed.zero())
	return late
}

// await waits for a channel to be closed, unless ctx or the client ends before.
func await(ctx context.Context, c *Client, over <-chan struct{}) error {
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.Done():
		return c.Err()
	}
}

func (r *Runner) runs(kind string) bool {
	_, known := r.options.Types[kind]
	return known
}

// most is how many functions of a type may run at once.
func (r *Runner) most(kind string) int {
	if most := r.options.Types[kind].Most; most > 0 {
		return most
	}
	return r.options.Credit
}

func (r *Runner) take() Request[Done] {
	r.client.claims.mu.Lock()
	defer r.client.claims.mu.Unlock()
	if r.stopped {
		return nil
	}
	take := &takeMessage{Types: map[string]int64{}, Credit: int64(r.options.Credit)}
	for name, work := range r.options.Types {
		take.Types[name] = int64(r.most(name))
		if work.Weight > 1 {
			if take.Weights == nil {
				take.Weights = map[string]int64{}
			}
			take.Weights[name] = int64(work.Weight)
		}
	}
	return take
}

// takeNothing ends what was taken, unless another runner has taken over.
func (r *Runner) takeNothing() Request[Done] {
	r.client.claims.mu.Lock()
	defer r.client.claims.mu.Unlock()
	if r.client.claims.runner != r {
		return nil
	}
	return &takeMessage{Types: map[string]int64{}}
}
