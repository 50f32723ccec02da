package packhorse

import (
	"context"
	"errors"
	"testing"
)

func revocation(job string) values {
	return values{"t": "revoke", "claims": []any{values{"job": job, "token": token(job), "reason": "taken_back"}}}
}

// held is work that tells what began, and lasts until it is told to end or its context does.
func held() (began chan *Job, end chan bool, work Func) {
	began, end = make(chan *Job, 10), make(chan bool)
	return began, end, func(ctx context.Context, j *Job) ([]byte, error) {
		began <- j
		select {
		case <-end:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func TestWhatIsSaidOfAClaimBeforeThereIsARunnerCounts(t *testing.T) {
	_, c, p := scripted(t, nil)
	p.send(claims(claim("revoked"), claim("cancelled")))
	p.send(revocation("revoked"))
	p.send(values{"t": "cancelling", "claims": []any{values{"job": "cancelled", "token": token("cancelled"), "grace_ms": 1000, "why": "so"}}})
	fence(t, c, p)
	began, _, work := held()
	go func() { _, _ = c.Run(soon(t), RunnerOptions{Types: map[string]Work{"x": {Func: work}}}) }()
	if j := <-began; j.Job != "cancelled" {
		t.Error(j.Job)
	} else if why := (*CancelledError)(nil); !errors.As(context.Cause(j.ctx), &why) || why.Why != "so" {
		t.Error(context.Cause(j.ctx))
	}
	for range 2 { // the take and the end, in any order
		if q := p.next(); q["t"] == "take" {
			p.ok(q, values{})
		} else {
			p.ok(q, values{"state": "FAILED"})
		}
	}
	fence(t, c, p)
	if len(began) > 0 {
		t.Error("a revoked claim began")
	}
}

func TestClaimsBeyondTheCreditWait(t *testing.T) {
	_, c, p := scripted(t, nil)
	began, end, work := held()
	runs(t, c, p, RunnerOptions{Credit: 2, Types: map[string]Work{"x": {Func: work, Most: 1}, "y": {Func: work}}})
	other := claim("y1")
	other["type"] = "y"
	p.send(claims(claim("x1"), claim("x2"), claim("x3"), other))
	p.send(revocation("x2"))
	fence(t, c, p)
	if one, two := (<-began).Job, (<-began).Job; one+two != "x1y1" && one+two != "y1x1" {
		t.Error(one, two)
	}
	if len(began) > 0 {
		t.Error("more began than the credit", (<-began).Job)
	}
	p.send(revocation("x1")) // its place is free
	if j := <-began; j.Job != "x3" {
		t.Error(j.Job)
	}
	for range 2 {
		end <- true
		p.ok(p.expect("complete"), values{"state": "COMPLETE"})
	}
}

func TestWhatWaitsIsGivenBackAtShutdown(t *testing.T) {
	_, c, p := scripted(t, nil)
	began, end, work := held()
	r := runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: work}}})
	p.send(claims(claim("x1"), claim("x2")))
	<-began
	fence(t, c, p)
	shut := make(chan error, 1)
	go func() { shut <- r.Shutdown(soon(t)) }()
	p.ok(p.expect("take"), values{})
	back := p.expect("release")
	if first(back, "claims")["job"] != "x2" {
		t.Error(back)
	}
	p.send(claims(claim("x2"))) // pushed again before the broker has it back
	p.ok(back, values{"state": "QUEUED"})
	end <- true
	p.ok(p.expect("complete"), values{"state": "COMPLETE"})
	if err := <-shut; err != nil {
		t.Error(err)
	}
}

func TestTooManyEarlyClaimsAreGivenBack(t *testing.T) {
	_, _, p := scripted(t, nil)
	all := make([]any, maxWaiting+1)
	for i := range all {
		all[i] = claim(string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)))
	}
	p.send(claims(all...))
	if back := p.expect("release")["claims"].([]any); len(back) != 1 {
		t.Error(len(back))
	}
}

func TestASecondRunnerWaitsForTheJobsOfTheFirst(t *testing.T) {
	_, c, p := scripted(t, nil)
	began, finish := make(chan bool, 2), make(chan bool)
	stubborn := func(context.Context, *Job) ([]byte, error) {
		began <- true
		<-finish
		return nil, nil
	}
	r := runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: stubborn}}})
	p.send(claims(claim("x1")))
	<-began
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	shut := make(chan error, 1)
	go func() { shut <- r.Shutdown(ended) }()
	p.ok(p.expect("take"), values{})
	p.ok(p.expect("release"), values{"state": "QUEUED"})
	if err := <-shut; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.Run(ended, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(finish)
	runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
}

func TestAnEndThatIsOnItsWayIsNotOvertakenByARelease(t *testing.T) {
	_, c, p := scripted(t, nil)
	r := runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
	p.send(claims(claim("x1")))
	q := p.expect("complete")
	p.send(values{"t": "error", "id": q["id"], "code": "unavailable", "message": "", "retryable": true, "retry_after_ms": 1500})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	shut := make(chan error, 1)
	go func() { shut <- r.Shutdown(ended) }()
	p.ok(p.expect("take"), values{})
	p.ok(p.expect("complete"), values{"state": "COMPLETE"})
	if err := <-shut; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Else the Shutdown would cancel the jobs of the second, or its take of nothing be the last.
func TestASecondRunnerWaitsForTheShutdownOfTheFirst(t *testing.T) {
	_, c, p := scripted(t, nil)
	r := runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
	shut := make(chan error, 1)
	go func() { shut <- r.Shutdown(soon(t)) }()
	nothing := p.expect("take")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Run(ended, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if c.claims.current() != r {
		t.Fatal("it took over while the first one shut down")
	}
	p.ok(nothing, values{})
	if err := <-shut; err != nil {
		t.Error(err)
	}
	runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
}
