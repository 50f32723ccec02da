package packhorse

import (
	"context"
	"errors"
	"testing"
)

func outcomes(version int) values {
	return values{"t": "outcomes", "outcomes": []any{values{
		"job": "j", "type": "x", "state": "COMPLETE", "version": version, "finished_at": version, "result": []byte("done"), "created_at": 1,
	}}}
}

type outcomeOrNot struct {
	outcome *Outcome
	err     error
}

func waiting(t *testing.T, c *Client) <-chan outcomeOrNot {
	done := make(chan outcomeOrNot, 1)
	go func() {
		o, err := c.Wait(soon(t), "j")
		done <- outcomeOrNot{o, err}
	}()
	return done
}

func TestAForgottenClientHandlesAgainWhatItWaitsFor(t *testing.T) {
	s, c, p := scripted(t, nil)
	done := waiting(t, c)
	p.ok(p.expect("handle"), values{"state": "QUEUED"})
	p.Close()
	p = s.welcome(values{"registered_at": 2})
	p.ok(p.expect("handle"), values{"state": "STARTED"})
	p.send(outcomes(4))
	if got := <-done; got.err != nil || string(got.outcome.Result) != "done" {
		t.Error(got)
	}
	p.ok(p.expect("handled"), values{})
}

func TestAForgottenClientDoesNotRepeatWhatItsJobsHungOn(t *testing.T) {
	s, c, p := scripted(t, nil)
	handled, plain := make(chan error, 1), creating(t, c, NewJob{Type: "x"})
	p.expect("create")
	go func() {
		_, err := c.Create(soon(t), NewJob{Type: "x"}, AndHandle())
		handled <- err
	}()
	p.expect("create")
	p.Close()
	p = s.welcome(values{"registered_at": 2})
	if err := <-handled; !errors.Is(err, ErrDisconnected) {
		t.Error(err)
	}
	p.ok(p.expect("create"), values{"job": "1", "state": "QUEUED"})
	if got := <-plain; got.err != nil {
		t.Error(got.err)
	}
}

func TestAnOutcomeThatCameBeforeSomebodyWaitsIsKept(t *testing.T) {
	_, c, p := scripted(t, nil)
	p.send(outcomes(4))
	done := creating(t, c, NewJob{Type: "x"}) // its answer is a fence
	p.ok(p.expect("create"), values{"job": "other", "state": "QUEUED"})
	<-done
	if got := <-waiting(t, c); got.err != nil || got.outcome.Version != 4 {
		t.Error(got)
	}
	p.ok(p.expect("handled"), values{})
}

func TestAnEndedJobWhoseOutcomeIsHeldBackIsFetched(t *testing.T) {
	_, c, p := scripted(t, nil)
	done := waiting(t, c)
	p.ok(p.expect("handle"), values{"state": "FAILED"})
	view := values{"id": "j", "type": "x", "state": "FAILED", "version": 4, "reason": "RUNNER_TIMEOUT"}
	p.ok(p.expect("get"), view)
	got := <-done
	if got.err != nil || got.outcome.Reason != ReasonRunnerTimeout || got.outcome.Err() == nil {
		t.Error(got)
	}
	p.ok(p.expect("handled"), values{})
}

func TestAnOutcomeThatComesTwiceIsHandledOnce(t *testing.T) {
	s, c, p := scripted(t, nil)
	began, finish := make(chan *Outcome, 2), make(chan bool)
	_, err := c.Handle(soon(t), HandlerOptions{Func: func(_ context.Context, o *Outcome) error {
		began <- o
		<-finish
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.send(outcomes(4))
	<-began
	p.Close()
	p = s.welcome(values{"resumed": true})
	again := outcomes(4)
	again["outcomes"].([]any)[0].(values)["version"] = 5 // another handler has left
	p.send(again)                                        // pushed again: it is not answered yet
	finish <- true
	handled := p.expect("handled")
	p.Close()
	p = s.welcome(values{"resumed": true})
	p.send(outcomes(4))
	p.ok(p.expect("handled"), values{"problem": values{"code": "not_handler", "message": ""}})
	if handled["jobs"].([]any)[0] != "j" || len(began) > 0 {
		t.Error("it was handled twice", handled)
	}
	// After it was retried by hand, a job has one outcome more.
	p.send(outcomes(9))
	if o := <-began; o.Version != 9 {
		t.Error(o)
	}
	finish <- true
	p.ok(p.expect("handled"), values{})
}

func TestAMemberJoinsAgainAndGivesBackWhatItDidNotDealWith(t *testing.T) {
	s, c, p := scripted(t, nil)
	began := make(chan bool)
	joined := make(chan *Handler, 1)
	go func() {
		h, err := c.Handle(soon(t), HandlerOptions{Groups: []string{"g"}, Func: func(ctx context.Context, _ *Outcome) error {
			began <- true
			<-ctx.Done()
			return ctx.Err()
		}})
		if err != nil {
			t.Error(err)
		}
		joined <- h
	}()
	p.ok(p.expect("join"), values{})
	h := <-joined
	p.Close()
	p = s.welcome(values{"resumed": true})
	again := p.expect("join")
	if groups := again["groups"].([]any); len(groups) != 1 || groups[0] != "g" {
		t.Error(again)
	}
	p.ok(again, values{})
	m := outcomes(4)
	m["outcomes"].([]any)[0].(values)["group"] = "g"
	p.send(m)
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- h.Stop(soon(t)) }()
	left := p.expect("join")
	if len(left["groups"].([]any)) != 0 {
		t.Error(left)
	}
	p.ok(left, values{})
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	c.outcomes.mu.Lock()
	defer c.outcomes.mu.Unlock()
	if len(c.outcomes.open) > 0 {
		t.Error(c.outcomes.open)
	}
}

func TestAnOutcomeWaitsForTheAnswerToItsCreate(t *testing.T) {
	s, c, p := scripted(t, nil)
	began := make(chan *Outcome, 3)
	_, err := c.Handle(soon(t), HandlerOptions{Func: func(_ context.Context, o *Outcome) error {
		began <- o
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = c.Create(soon(t), NewJob{Type: "x", ID: "j"}, AndHandle()) }()
	p.expect("create")
	p.send(outcomes(4))
	fence(t, c, p)
	p.Close()
	p = s.welcome(values{"resumed": true})
	p.send(outcomes(4))
	again := p.expect("create") // and no handled, behind which it would create the job once more
	if len(began) > 0 {
		t.Error("it was dealt with before the create was answered")
	}
	p.ok(again, values{"job": "j", "state": "COMPLETE", "existed": true})
	p.ok(p.expect("handled"), values{})
	<-began
}

func TestAnOutcomeIsDealtWithWhenTheCreatorHasGone(t *testing.T) {
	_, c, p := scripted(t, nil)
	_, err := c.Handle(soon(t), HandlerOptions{Func: func(context.Context, *Outcome) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = c.Create(ctx, NewJob{Type: "x", ID: "j"}, AndHandle()) }()
	p.expect("create")
	p.send(outcomes(4))
	cancel()
	p.ok(p.expect("handled"), values{})
}

func TestACallIsNotRobbedByTheHandler(t *testing.T) {
	b := broker(t)
	c := connected(t, b.url, nil)
	running(t, c, echo)
	_, err := c.Handle(soon(t), HandlerOptions{Func: func(_ context.Context, o *Outcome) error {
		t.Error("the handler got it", o.Job)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := c.Call(soon(t), NewJob{Type: typeName(t)}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnOutcomeThatACallLeftBehindIsNotLost(t *testing.T) {
	_, c, p := scripted(t, nil)
	ctx, cancel := context.WithCancel(soon(t))
	failed := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, NewJob{ID: "j", Type: "x"})
		failed <- err
	}()
	p.expect("create")
	p.send(outcomes(4)) // is held behind the create
	fence(t, c, p)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	done := waiting(t, c)
	p.ok(p.expect("handled"), values{})
	if got := <-done; got.err != nil || got.outcome.Version != 4 {
		t.Error(got)
	}
}

func TestWhatAHandlerGivesBackGoesToWhoeverWaitsByThen(t *testing.T) {
	_, c, p := scripted(t, nil)
	began := make(chan bool, 1)
	h, err := c.Handle(soon(t), HandlerOptions{Func: func(ctx context.Context, _ *Outcome) error {
		began <- true
		<-ctx.Done()
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.send(outcomes(4))
	<-began
	done := waiting(t, c)
	p.ok(p.expect("handle"), values{"state": "QUEUED"}) // it waits by now
	if err := h.Stop(soon(t)); err != nil {
		t.Error(err)
	}
	p.ok(p.expect("handled"), values{})
	if got := <-done; got.err != nil || got.outcome.Version != 4 {
		t.Error(got)
	}
}

func TestWhatAStoppedHandlerGivesBackLateGoesToTheNext(t *testing.T) {
	_, c, p := scripted(t, nil)
	began, finish := make(chan bool, 1), make(chan bool)
	h, err := c.Handle(soon(t), HandlerOptions{Func: func(context.Context, *Outcome) error {
		began <- true
		<-finish
		return errors.New("not now")
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.send(outcomes(4))
	<-began
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Stop(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.Handle(soon(t), HandlerOptions{Func: func(context.Context, *Outcome) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	close(finish)
	p.ok(p.expect("handled"), values{})
}

func TestAnOutcomeOfAGroupGivenBackLateGoesToTheNextHandlerOfTheGroup(t *testing.T) {
	_, c, p := scripted(t, nil)
	began, finish := make(chan bool, 1), make(chan bool)
	joined := func(f func(context.Context, *Outcome) error) *Handler {
		made := make(chan *Handler, 1)
		go func() {
			h, err := c.Handle(soon(t), HandlerOptions{Groups: []string{"g"}, Func: f})
			if err != nil {
				t.Error(err)
			}
			made <- h
		}()
		p.ok(p.expect("join"), values{})
		return <-made
	}
	h := joined(func(context.Context, *Outcome) error {
		began <- true
		<-finish
		return errors.New("not now")
	})
	pushed := outcomes(4)
	first(pushed, "outcomes")["group"] = "g"
	p.send(pushed)
	<-began
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- h.Stop(ended) }()
	p.ok(p.expect("join"), values{})
	<-stopped
	joined(func(context.Context, *Outcome) error { return nil })
	p.send(pushed) // the one that left may still have it
	fence(t, c, p)
	close(finish)
	if handled := p.expect("handled"); handled["group"] != "g" {
		t.Error(handled)
	}
}
