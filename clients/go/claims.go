package packhorse

import (
	"context"
	"slices"
	"sync"
)

// maxWaiting bounds the claims that wait here, where a runner's credit does not.
const maxWaiting = 1000

// claimBook holds the claims of a client, from their push to the broker's word that they are over.
type claimBook struct {
	client *Client

	mu        sync.Mutex
	runner    *Runner
	jobs      map[string]*Job // by token
	waiting   []*Job          // of these, what waits for a place or for a runner
	running   map[string]int  // of these, functions that have not returned, by type
	working   tally           // of these, all that does not wait
	returning map[string]bool // tokens of claims that are given back: they may be pushed again meanwhile
	owed      tally           // what the broker has not answered of ends and releases
	leaving   tally           // calls of Shutdown
}

func newClaimBook(c *Client) *claimBook {
	return &claimBook{client: c, jobs: map[string]*Job{}, running: map[string]int{}, returning: map[string]bool{}}
}

// claimed is told of claims: each begins, waits, or is given back.
func (b *claimBook) claimed(claims []Claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var refused []*Job
	for _, claim := range claims {
		token := string(claim.Token)
		if b.jobs[token] != nil || b.returning[token] {
			continue // it is pushed again after a resume
		}
		j := &Job{Claim: claim, client: b.client}
		if !b.wants(j) {
			refused = append(refused, j)
			continue
		}
		j.ctx, j.cancel = context.WithCancelCause(b.client.ctx)
		b.jobs[token] = j
		b.waiting = append(b.waiting, j)
	}
	b.fill()
	b.giveBack(refused)
}

func (b *claimBook) wants(j *Job) bool {
	if b.runner == nil {
		return len(b.waiting) < maxWaiting
	}
	return b.runner.runs(j.Type) && !b.runner.stopped && len(b.waiting) < max(maxWaiting, b.runner.options.Credit)
}

// fill begins what waits and has a place.
func (b *claimBook) fill() {
	r := b.runner
	if r == nil || r.stopped {
		return
	}
	free := r.options.Credit
	for _, n := range b.running {
		free -= n
	}
	b.waiting = slices.DeleteFunc(b.waiting, func(j *Job) bool {
		if free <= 0 || b.running[j.Type] >= r.most(j.Type) {
			return false
		}
		free--
		b.running[j.Type]++
		b.working.add(1)
		go b.run(r, j)
		return true
	})
}

// giveBack releases claims, so that others may run them.
func (b *claimBook) giveBack(jobs []*Job) {
	if len(jobs) == 0 {
		return
	}
	q := &releaseMessage{}
	for _, j := range jobs {
		q.Claims = append(q.Claims, j.ref())
		b.returning[string(j.Token)] = true
	}
	b.owed.add(1)
	begun := b.client.spawn(func(ctx context.Context) {
		defer b.owed.add(-1)
		_, _ = ask(ctx, b.client, q, persist)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, j := range jobs {
			delete(b.returning, string(j.Token))
		}
	})
	if !begun {
		b.owed.add(-1)
	}
}

// drop takes out what waits, as far as it is to go.
func (b *claimBook) drop(goes func(*Job) bool) (dropped []*Job) {
	b.waiting = slices.DeleteFunc(b.waiting, func(j *Job) bool {
		if goes(j) {
			delete(b.jobs, string(j.Token))
			j.cancel(nil)
			dropped = append(dropped, j)
			return true
		}
		return false
	})
	return dropped
}

func every(*Job) bool { return true }

// began is told that a connection begins; lost: the broker had forgotten the claims.
func (b *claimBook) began(lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(every) // what this client still holds is pushed again
	if lost {
		b.cancelAll(ErrForgotten)
	}
	if b.runner != nil {
		b.runner.taking.begin()
	}
}

func (b *claimBook) cancelling(cancellations []Cancellation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range cancellations {
		if j := b.jobs[string(one.Token)]; j != nil {
			j.cancel(&CancelledError{Grace: milliseconds(one.GraceMs), Why: one.Why})
		}
	}
}

func (b *claimBook) revoked(revocations []Revocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range revocations {
		j := b.jobs[string(one.Token)]
		if j == nil {
			continue
		}
		j.cancel(&RevokedError{Reason: one.Reason})
		j.over = EndingRevoked // also where a cancellation came before
		b.drop(func(other *Job) bool { return other == j })
	}
}

// run runs a job, until the broker's word that its end is recorded.
func (b *claimBook) run(r *Runner, j *Job) {
	defer b.working.add(-1)
	defer j.cancel(nil)
	result, failed := j.call(r.options.Types[j.Type].Func)
	b.mu.Lock()
	b.running[j.Type]--
	b.fill()
	how := j.over
	j.ending = how == ""
	b.mu.Unlock()
	if j.ending {
		var err error
		b.owed.add(1)
		how, err = j.end(result, failed)
		b.owed.add(-1)
		if err != nil {
			b.client.options.Logger.Warn("packhorse: the end of a job was not recorded", "job", j.Job, "error", err)
		}
	}
	r.options.OnEnded(j, how)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.jobs, string(j.Token))
}

// admit makes a runner the client's, as soon as the one before has shut down and nothing runs of it.
func (b *claimBook) admit(ctx context.Context, r *Runner) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.runner != nil {
		if !b.runner.stopped {
			return &InvalidError{Field: "take", Why: "the client has a runner"}
		}
		if len(b.jobs) == len(b.waiting) && b.leaving.isZero() {
			break
		}
		b.mu.Unlock()
		err := await(ctx, b.client, b.leaving.zero())
		if err == nil {
			err = await(ctx, b.client, b.working.zero())
		}
		b.mu.Lock()
		if err != nil {
			return err
		}
	}
	b.runner = r
	b.giveBack(b.drop(func(j *Job) bool { return !r.runs(j.Type) }))
	b.fill()
	return nil
}

func (b *claimBook) current() *Runner {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runner
}

// stop lets no function begin any more; whether the runner is still the client's: then the next one
// waits for `leaving` to end.
func (b *claimBook) stop(r *Runner) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.stopped = true
	if b.runner != r {
		return false
	}
	b.leaving.add(1)
	return true
}

// giveBackWaiting releases what has not begun.
func (b *claimBook) giveBackWaiting() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveBack(b.drop(every))
}

// shutDown cancels the functions that run.
func (b *claimBook) shutDown() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancelAll(ErrShutdown)
}

func (b *claimBook) cancelAll(cause error) {
	for _, j := range b.jobs {
		j.cancel(cause)
	}
}

// abandon gives back what does not end: whatever it says later is not sent.
func (b *claimBook) abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var abandoned []*Job
	for _, j := range b.jobs {
		if j.over == "" && !j.ending {
			j.over = EndingReleased
			abandoned = append(abandoned, j)
		}
	}
	b.giveBack(abandoned)
}
