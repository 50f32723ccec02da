package packhorse

import (
	"context"
	"errors"
)

// subscription is what ends with a connection, and is asked of each one anew: take, join or watch.
type subscription[R any] struct {
	client   *Client
	terms    func() Request[R] // as they are now; nil: nothing is asked for any more
	answered func(q Request[R], results []Result[R]) error
	first    chan error // what came of it on the first connection that answered
}

func newSubscription[R any](
	c *Client, terms func() Request[R], answered func(Request[R], []Result[R]) error,
) *subscription[R] {
	return &subscription[R]{c, terms, answered, make(chan error, 1)}
}

// onlyAnswer is what came of a request without items.
func onlyAnswer[R any](_ Request[R], results []Result[R]) error { return results[0].Err }

// begin asks on the connection of now, if there is one; the next one begins it again.
func (s *subscription[R]) begin() {
	s.client.spawn(func(ctx context.Context) {
		err := subscribe(ctx, s.client, s.terms, s.answered)
		if errors.Is(err, ErrDisconnected) || ctx.Err() != nil {
			return
		}
		select {
		case s.first <- err:
		default:
			if err != nil {
				s.client.options.Logger.Error("packhorse: the broker refuses what it had granted before", "error", err)
			}
		}
	})
}

// granted waits for the first answer.
func (s *subscription[R]) granted(ctx context.Context) error {
	select {
	case err := <-s.first:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.client.Done():
		return s.client.Err()
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
