package packhorse

import (
	"context"
	"errors"
	"sync"
)

// subscription is what ends with a connection, and is asked of each one anew: take, join or watch.
type subscription[R any] struct {
	client   *Client
	terms    func() Request[R] // as they are now; nil: nothing is asked for any more
	answered func(q Request[R], results []Result[R]) error
	ctx      context.Context // until it is asked for no more
	cancel   context.CancelCauseFunc
	asking   tally
	first    chan error // what came of it on the first connection that answered
	answer   sync.Once  // the first
}

func newSubscription[R any](
	c *Client, terms func() Request[R], answered func(Request[R], []Result[R]) error,
) *subscription[R] {
	s := &subscription[R]{client: c, terms: terms, answered: answered, first: make(chan error, 1)}
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	return s
}

// onlyAnswer is what came of a request without items.
func onlyAnswer[R any](_ Request[R], results []Result[R]) error { return results[0].Err }

// begin asks on the connection of now, if there is one; the next one begins it again.
func (s *subscription[R]) begin() {
	s.asking.add(1)
	begun := s.client.spawn(func(context.Context) {
		defer s.asking.add(-1)
		err := subscribe(s.ctx, s.client, s.terms, s.answered)
		if errors.Is(err, ErrDisconnected) || s.ctx.Err() != nil {
			return
		}
		first := false
		s.answer.Do(func() {
			first = true
			s.first <- err
		})
		if !first && err != nil {
			s.client.options.Logger.Error("packhorse: the broker refuses what it had granted before", "error", err)
		}
	})
	if !begun {
		s.asking.add(-1)
	}
}

// end asks no more: what is sent from now on can't be overtaken by what was asked before.
func (s *subscription[R]) end(cause error) {
	s.cancel(cause)
	<-s.asking.zero()
}

// granted waits for the first answer.
func (s *subscription[R]) granted(ctx context.Context) error {
	select {
	case err := <-s.first:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// subscribe asks on the connection of now, on terms as they are at each try, until it is answered for
// good. A lost connection ends it by ErrDisconnected.
func subscribe[R any](
	ctx context.Context, c *Client, terms func() Request[R], answered func(Request[R], []Result[R]) error,
) error {
	ctx, cancel := c.requests.whileConnected(ctx)
	defer cancel()
	for tries := 0; ; tries++ {
		q := terms()
		if q == nil {
			return nil
		}
		results, err := ask(ctx, c, q, once)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		refusal := refusedForNow(results)
		if refusal == nil {
			return answered(q, results)
		}
		if err := sleep(ctx, refusal.wait(tries)); err != nil {
			return err
		}
	}
}

func refusedForNow[R any](results []Result[R]) *Refusal {
	for _, result := range results {
		var refusal *Refusal
		if errors.As(result.Err, &refusal) && refusal.Retryable {
			return refusal
		}
	}
	return nil
}
