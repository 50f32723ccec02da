package packhorse

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
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

	mu      sync.Mutex
	jobs    map[string]*Job // by token
	stopped bool
	idle    chan struct{}          // closed when nothing runs, if somebody waits for that
	returns map[chan struct{}]bool // each is closed when a claim that came too late was given back
}

// Run begins to run jobs. A client has one runner at a time.
func (c *Client) Run(ctx context.Context, options RunnerOptions) (*Runner, error) {
	options.Credit = max(options.Credit, 1)
	if options.OnEnded == nil {
		options.OnEnded = func(*Job, Ending) {}
	}
	r := &Runner{client: c, options: options, jobs: map[string]*Job{}, returns: map[chan struct{}]bool{}}
	c.mu.Lock()
	if c.runner != nil && !c.runner.isStopped() {
		c.mu.Unlock()
		return nil, &InvalidError{Field: "take", Why: "the client has a runner"}
	}
	c.runner = r
	early := c.early
	c.early = nil
	c.mu.Unlock()
	r.claimed(early)
	if _, err := askOne(ctx, c, r.take(), repeat); err != nil {
		_ = r.Shutdown(ctx) // the broker may have heard it all the same
		return nil, err
	}
	return r, nil
}

// Shutdown takes nothing more and returns when nothing runs. When ctx ends before, the contexts of
// the functions that still run are cancelled and their claims are given back, which spends no
// attempt; then the error is that of ctx.
func (r *Runner) Shutdown(ctx context.Context) error {
	idle := r.stop()
	c := r.client
	if c.requests.isOpen() {
		// First, so that the broker does not push again what it gets back, also where ctx has ended.
		taking, cancel := context.WithTimeout(c.ctx, releaseWait)
		_, _ = askOne(taking, c, r.take(), repeat)
		cancel()
	}
	select {
	case <-idle:
		r.returned()
		return nil
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	defer r.returned()
	r.each(func(j *Job) { j.cancel(ErrShutdown) })
	select {
	case <-idle:
	case <-time.After(cancelWait):
		releasing, cancel := context.WithTimeout(c.ctx, releaseWait)
		defer cancel()
		_, _ = ask(releasing, c, &releaseMessage{Claims: r.abandoned()}, persist)
	}
	return context.Cause(ctx)
}

// returned waits until the broker has the claims back that came too late: a bye would lose them.
func (r *Runner) returned() {
	r.mu.Lock()
	returns := slices.Collect(maps.Keys(r.returns))
	r.mu.Unlock()
	late := time.After(releaseWait)
	for _, done := range returns {
		select {
		case <-done:
		case <-late:
			return
		case <-r.client.ctx.Done():
			return
		}
	}
}

// stop lets nothing more begin; the channel is closed when nothing runs.
func (r *Runner) stop() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	idle := make(chan struct{})
	if r.idle != nil {
		idle = r.idle
	} else if len(r.jobs) == 0 {
		close(idle)
	} else {
		r.idle = idle
	}
	return idle
}

func (r *Runner) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

func (r *Runner) each(do func(*Job)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.jobs {
		do(j)
	}
}

// abandoned are the claims of functions that do not end: whatever they say later is not sent.
func (r *Runner) abandoned() (claims []ClaimRef) {
	r.each(func(j *Job) {
		if j.over == "" {
			j.over = EndingReleased
			claims = append(claims, ClaimRef{Job: j.Job, Token: j.Token})
		}
	})
	return claims
}

func (r *Runner) take() *takeMessage {
	take := &takeMessage{Types: map[string]int64{}}
	if r.isStopped() {
		return take
	}
	take.Credit = int64(r.options.Credit)
	for name, work := range r.options.Types {
		take.Types[name] = int64(r.options.Credit)
		if work.Most > 0 {
			take.Types[name] = int64(work.Most)
		}
		if work.Weight > 1 {
			if take.Weights == nil {
				take.Weights = map[string]int64{}
			}
			take.Weights[name] = int64(work.Weight)
		}
	}
	return take
}

// began is told that a connection begins; lost: the broker had forgotten the claims.
func (r *Runner) began(lost bool) {
	if lost {
		r.each(func(j *Job) { j.cancel(ErrForgotten) })
	}
	if r.isStopped() {
		return
	}
	r.client.spawn(func(ctx context.Context) {
		if _, err := askOne(ctx, r.client, r.take(), repeat); err != nil && ctx.Err() == nil {
			r.client.options.Logger.Error("packhorse: no jobs are taken any more", "error", err)
		}
	})
}

// claimed is told of claims; those that came before there is a runner wait for one.
func (c *Client) claimed(claims []Claim) {
	c.mu.Lock()
	r := c.runner
	if r == nil {
		c.early = append(c.early, claims...)
	}
	c.mu.Unlock()
	if r != nil {
		r.claimed(claims)
	}
}

func (r *Runner) claimed(claims []Claim) {
	for _, claim := range claims {
		work, known := r.options.Types[claim.Type]
		r.mu.Lock()
		token := string(claim.Token)
		running := r.jobs[token] != nil
		refused := !running && (!known || r.stopped)
		if !running && !refused {
			j := &Job{Claim: claim, client: r.client}
			j.ctx, j.cancel = context.WithCancelCause(r.client.ctx)
			r.jobs[token] = j
			go r.run(j, work.Func)
		}
		r.mu.Unlock()
		if refused {
			r.giveBack(claim)
		}
	}
}

// giveBack releases a claim that is not run.
func (r *Runner) giveBack(claim Claim) {
	done := make(chan struct{})
	r.mu.Lock()
	r.returns[done] = true
	r.mu.Unlock()
	over := func() {
		r.mu.Lock()
		delete(r.returns, done)
		r.mu.Unlock()
		close(done)
	}
	begun := r.client.spawn(func(ctx context.Context) {
		defer over()
		q := &releaseMessage{Claims: []ClaimRef{{Job: claim.Job, Token: claim.Token}}}
		_, _ = askOne(ctx, r.client, q, persist)
	})
	if !begun {
		over()
	}
}

func (c *Client) cancelling(cancellations []Cancellation) {
	for _, one := range cancellations {
		c.cancelJob(one.Token, &CancelledError{Grace: milliseconds(one.GraceMs), Why: one.Why})
	}
}

func (c *Client) revoked(revocations []Revocation) {
	for _, one := range revocations {
		c.cancelJob(one.Token, &RevokedError{Reason: one.Reason})
	}
}

// cancelJob ends a job's context. A revocation counts also where a cancellation came before.
func (c *Client) cancelJob(token []byte, cause error) {
	r := c.currentRunner()
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.jobs[string(token)]; j != nil {
		j.cancel(cause)
		if _, revoked := cause.(*RevokedError); revoked {
			j.over = EndingRevoked
		}
	}
}

// run runs a job, from its claim to the broker's word that its end is recorded.
func (r *Runner) run(j *Job, f Func) {
	defer j.cancel(nil)
	result, err := j.call(f)
	how, err := r.end(j, result, err)
	if err != nil {
		r.client.options.Logger.Warn("packhorse: the end of a job was not recorded", "job", j.Job, "error", err)
	}
	r.options.OnEnded(j, how)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.jobs, string(j.Token))
	if len(r.jobs) == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// end says how an attempt ended, and what became of saying so.
func (r *Runner) end(j *Job, result []byte, failed error) (Ending, error) {
	c := r.client
	r.mu.Lock()
	over := j.over
	r.mu.Unlock()
	cause := context.Cause(j.ctx)
	var cancelled *CancelledError
	how, err := EndingFailed, error(nil)
	switch {
	case over != "":
		return over, nil
	case errors.Is(cause, ErrForgotten):
		return EndingRevoked, nil
	case IsCode(cause, CodeStaleClaim), IsCode(cause, CodeNotFound):
		return EndingStale, nil
	case failed == nil:
		how = EndingComplete
		completion := Completion{Job: j.Job, Token: j.Token, Result: result}
		_, err = askOne(c.ctx, c, &completeMessage{Jobs: []Completion{completion}}, persist)
		if invalid := (*InvalidError)(nil); IsCode(err, CodeTooLarge) || errors.As(err, &invalid) {
			return r.end(j, nil, NoRetry(err))
		}
	case errors.Is(cause, ErrShutdown):
		how = EndingReleased
		_, err = askOne(c.ctx, c, &releaseMessage{Claims: []ClaimRef{{Job: j.Job, Token: j.Token}}}, persist)
	default:
		if errors.As(cause, &cancelled) {
			how = EndingCancelled
		}
		_, err = askOne(c.ctx, c, &failMessage{Jobs: []Failure{j.failure(failed)}}, persist)
	}
	if err == nil || doneBefore(err) {
		return how, nil
	}
	return EndingStale, err
}
