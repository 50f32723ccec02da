package packhorse

import (
	"context"
	"math/rand/v2"
	"time"
)

const firstWait = 100 * time.Millisecond

var longestWait = 5 * time.Second // tests have less time

// backoff is the wait after so many failed tries: it doubles, and its upper half is random, so that
// a thousand clients do not come back in the same instant.
func backoff(tries int) time.Duration {
	longest := min(longestWait, firstWait<<min(tries, 16))
	return longest/2 + rand.N(longest/2)
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
