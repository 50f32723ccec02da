package packhorse

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestWhatBelongsToTheConnectionIsSentAgain(t *testing.T) {
	s, c, p := scripted(t, nil)
	endings := make(chan Ending, 2)
	began := make(chan *Job, 2)
	running := make(chan error, 1)
	finish := make(chan bool)
	go func() {
		_, err := c.Run(soon(t), RunnerOptions{Credit: 3, OnEnded: func(_ *Job, how Ending) { endings <- how }, Types: map[string]Work{
			"x": {Most: 2, Weight: 5, Func: func(ctx context.Context, j *Job) ([]byte, error) {
				began <- j
				select {
				case <-finish:
					return []byte("done"), nil
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
			}},
		}})
		running <- err
	}()
	take := p.expect("take")
	if take["credit"] != int64(3) || take["types"].(values)["x"] != int64(2) || take["weights"].(values)["x"] != int64(5) {
		t.Error(take)
	}
	p.ok(take, values{})
	if err := <-running; err != nil {
		t.Fatal(err)
	}
	claims := values{"t": "claims", "claims": []any{values{
		"job": "j", "token": []byte("0123456789abcdef"), "fence": 1, "type": "x", "attempt": 1,
	}}}
	p.send(claims)
	<-began
	p.Close()
	p = s.welcome(values{"resumed": true})
	p.send(claims) // pushed again: the job still runs
	p.ok(p.expect("take"), values{})
	finish <- true
	complete := p.expect("complete")
	if string(first(complete, "jobs")["result"].([]byte)) != "done" {
		t.Error(complete)
	}
	p.Close()
	p = s.welcome(values{"resumed": true})
	for range 2 { // the take and the completion, in any order
		if q := p.next(); q["t"] == "take" {
			p.ok(q, values{})
		} else {
			p.ok(q, values{"state": "COMPLETE"})
		}
	}
	if how := <-endings; how != EndingComplete {
		t.Error(how)
	}
	// A registration that is gone takes the claims with it.
	claims["claims"].([]any)[0].(values)["token"] = []byte("another token 16")
	p.send(claims)
	<-began
	p.Close()
	p = s.welcome(values{"registered_at": 2})
	if how := <-endings; how != EndingRevoked {
		t.Error(how)
	}
	p.ok(p.expect("take"), values{})
	if len(began) > 0 {
		t.Error("a job began twice")
	}
}

func TestAStaleClaimIsTold(t *testing.T) {
	_, c, p := scripted(t, nil)
	endings := make(chan Ending, 1)
	go func() {
		_, _ = c.Run(soon(t), RunnerOptions{OnEnded: func(_ *Job, how Ending) { endings <- how }, Types: map[string]Work{"x": {Func: echo}}})
	}()
	p.ok(p.expect("take"), values{})
	p.send(values{"t": "claims", "claims": []any{values{
		"job": "j", "token": []byte("0123456789abcdef"), "fence": 1, "type": "x", "attempt": 1,
	}}})
	p.ok(p.expect("complete"), values{"problem": values{"code": "stale_claim", "message": ""}})
	if how := <-endings; how != EndingStale {
		t.Error(how)
	}
}

func TestARepeatedCompletionOfAJobThatIsGoneWasDone(t *testing.T) {
	s, c, p := scripted(t, nil)
	endings := make(chan Ending, 1)
	go func() {
		_, _ = c.Run(soon(t), RunnerOptions{OnEnded: func(_ *Job, how Ending) { endings <- how }, Types: map[string]Work{"x": {Func: echo}}})
	}()
	p.ok(p.expect("take"), values{})
	p.send(values{"t": "claims", "claims": []any{values{
		"job": "j", "token": []byte("0123456789abcdef"), "fence": 1, "type": "x", "attempt": 1,
	}}})
	p.expect("complete")
	p.Close()
	p = s.welcome(values{"resumed": true})
	for range 2 { // the take and the completion, in any order
		if q := p.next(); q["t"] == "take" {
			p.ok(q, values{})
		} else {
			p.ok(q, values{"problem": values{"code": "not_found", "message": ""}})
		}
	}
	if how := <-endings; how != EndingComplete {
		t.Error(how)
	}
}

func TestARunThatIsGivenUpTakesNothing(t *testing.T) {
	_, c, p := scripted(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := c.Run(ctx, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
		failed <- err
	}()
	p.expect("take")
	cancel()
	again := p.expect("take")
	if again["credit"] != int64(0) {
		t.Error(again)
	}
	p.ok(again, values{})
	if err := <-failed; err == nil {
		t.Error("it runs")
	}
	// What had been claimed meanwhile is given back.
	p.send(values{"t": "claims", "claims": []any{values{
		"job": "j", "token": []byte("0123456789abcdef"), "fence": 1, "type": "x", "attempt": 1,
	}}})
	p.ok(p.expect("release"), values{"state": "QUEUED"})
}

func TestAClaimThatComesLateIsBackBeforeBye(t *testing.T) {
	_, c, p := scripted(t, nil)
	go func() { p.ok(p.expect("take"), values{}) }()
	if _, err := c.Run(soon(t), RunnerOptions{Types: map[string]Work{"x": {Func: echo}}}); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- c.Close(context.Background()) }()
	last := p.expect("take")
	p.send(values{"t": "claims", "claims": []any{values{
		"job": "j", "token": []byte("0123456789abcdef"), "fence": 1, "type": "x", "attempt": 1,
	}}})
	p.ok(last, values{})
	p.ok(p.expect("release"), values{"state": "QUEUED"})
	p.ok(p.expect("bye"), values{})
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestAnEndThatCannotBeSaidEndsTheAttemptAllTheSame(t *testing.T) {
	_, c, p := scripted(t, nil)
	go func() { p.ok(p.expect("take"), values{}) }()
	work := func(_ context.Context, job *Job) ([]byte, error) {
		if job.Job == "late" {
			return nil, RetryIn(-time.Second, errors.New("too late"))
		}
		return make([]byte, 65<<20), nil
	}
	if _, err := c.Run(soon(t), RunnerOptions{Types: map[string]Work{"x": {Func: work}}}); err != nil {
		t.Fatal(err)
	}
	for i, job := range []string{"late", "large"} {
		token := []byte(fmt.Sprintf("%016d", i))
		p.send(values{"t": "claims", "claims": []any{values{"job": job, "token": token, "fence": 1, "type": "x", "attempt": 1}}})
		fail := p.expect("fail")
		said := fail["jobs"].([]any)[0].(values)
		if said["job"] != job || job == "late" && said["retry_in_ms"] != int64(0) || job == "large" && said["retry"] != false {
			t.Error(fail)
		}
		p.ok(fail, values{"state": "FAILED"})
	}
}

func TestClaimsBeforeThereIsARunnerWaitForOne(t *testing.T) {
	_, c, p := scripted(t, nil)
	claim := values{"job": "j", "token": []byte("0123456789abcdef"), "fence": 1, "type": "x", "attempt": 1, "payload": []byte("p")}
	unknown := values{"job": "k", "token": []byte("fedcba9876543210"), "fence": 1, "type": "y", "attempt": 1}
	p.send(values{"t": "claims", "claims": []any{claim, unknown}})
	done := creating(t, c, NewJob{Type: "x"}) // its answer is a fence
	p.ok(p.expect("create"), values{"job": "other", "state": "QUEUED"})
	<-done
	go func() { _, _ = c.Run(soon(t), RunnerOptions{Types: map[string]Work{"x": {Func: echo}}}) }()
	seen := map[any]bool{}
	for range 3 {
		q := p.next()
		seen[q["t"]] = true
		p.ok(q, values{"state": "COMPLETE"})
	}
	if !seen["take"] || !seen["release"] || !seen["complete"] {
		t.Error(seen)
	}
}

func TestAStaleReportEndsTheJobsContext(t *testing.T) {
	_, c, p := scripted(t, nil)
	causes, endings := make(chan error, 1), make(chan Ending, 1)
	go func() {
		_, _ = c.Run(soon(t), RunnerOptions{OnEnded: func(_ *Job, how Ending) { endings <- how }, Types: map[string]Work{"x": {Func: func(ctx context.Context, j *Job) ([]byte, error) {
			err := j.Log(ctx, "a line")
			causes <- context.Cause(ctx)
			return nil, err
		}}}})
	}()
	p.ok(p.expect("take"), values{})
	p.send(values{"t": "claims", "claims": []any{values{
		"job": "j", "token": []byte("0123456789abcdef"), "fence": 1, "type": "x", "attempt": 1,
	}}})
	stale := values{"problem": values{"code": "stale_claim", "message": ""}}
	p.ok(p.expect("log"), stale)
	if cause := <-causes; !IsCode(cause, CodeStaleClaim) {
		t.Error(cause)
	}
	if how := <-endings; how != EndingStale {
		t.Error(how)
	}
}
