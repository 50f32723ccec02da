package packhorse

import (
	"context"
	"slices"
)

// Result is what became of one item of a request.
type Result[R any] struct {
	Value R
	Err   error // a *Refusal where the broker refused this item
	// NotMet: it was done, but the durability that was asked for did not come in time.
	NotMet bool
}

// Request is a request whose items are each answered by an R: Get, Cancel, Retry, Info and so on.
type Request[R any] interface {
	wireRequest
	result() *R
}

// Ask sends a request, and returns a result for each of its items; a request without items has one.
// An error means that it was not sent, or that ctx ended or the client was closed before the answer.
//
//	results, err := packhorse.Ask(ctx, client, &packhorse.RunNow{Jobs: []string{"report-11"}})
func Ask[R any](ctx context.Context, c *Client, q Request[R]) ([]Result[R], error) {
	p := repeat
	switch q := any(q).(type) {
	case *Create:
		// Ids that are chosen here make a create repeatable.
		q.Jobs = slices.Clone(q.Jobs)
		for i := range q.Jobs {
			q.Jobs[i].ID = orNewID(&q.Jobs[i])
		}
		if q.Handle && q.Group == "" {
			// Its handler is gone with the client, so the job may have run and be gone as well.
			p = whileKnown
		}
		defer c.outcomes.creates(q)()
	case *Retry, *RunNow, *claimJobsMessage:
		p = once
	}
	return ask(ctx, c, q, p)
}

func ask[R any](ctx context.Context, c *Client, q Request[R], p policy) ([]Result[R], error) {
	answers, err := c.requests.ask(ctx, q, p)
	if err != nil {
		return nil, err
	}
	results := make([]Result[R], len(answers))
	for i, a := range answers {
		results[i].Err = a.err
		results[i].NotMet = a.notMet
		if a.err == nil {
			results[i].Err = decode(a.entry, any(&results[i].Value).(decodable))
		}
	}
	return results, nil
}

// askOne sends a request of one item.
func askOne[R any](ctx context.Context, c *Client, q Request[R], p policy) (R, error) {
	results, err := ask(ctx, c, q, p)
	if err != nil {
		var none R
		return none, err
	}
	return results[0].Value, results[0].Err
}
