package packhorse

import (
	"context"
	"errors"
	"testing"
)

func TestWhatWasUnansweredLeavesAgainInItsOrder(t *testing.T) {
	s, c, p := scripted(t, nil)
	var before []any
	for i := range 3 { // each in a lane of its own
		go func() { _, _ = c.Create(soon(t), NewJob{Type: "x"}, ForGroup(string(rune('a'+i)))) }()
		before = append(before, p.expect("create")["group"])
	}
	go func() { _, _ = c.Create(soon(t), NewJob{Type: "x"}, ForGroup("a")) }()
	p.expect("create")
	p.Close()
	p = s.welcome(values{"resumed": true})
	for i, group := range before {
		q := p.expect("create")
		if q["group"] != group || i == 0 && len(q["jobs"].([]any)) != 2 {
			t.Error(i, group, q)
		}
	}
}

func TestAForgottenClientRepeatsNoCreateThatMayHaveBeenDone(t *testing.T) {
	for _, code := range []string{"unavailable", "internal"} {
		t.Run(code, func(t *testing.T) {
			s, c, p := scripted(t, nil)
			failed := make(chan error, 1)
			go func() {
				_, err := c.Create(soon(t), NewJob{Type: "x"}, AndHandle())
				failed <- err
			}()
			q := p.expect("create")
			p.send(values{"t": "error", "id": q["id"], "code": code, "message": "", "retryable": true, "retry_after_ms": 500})
			fence(t, c, p) // the create sleeps now
			p.Close()
			p = s.welcome(values{"registered_at": 2})
			if err := <-failed; !errors.Is(err, ErrDisconnected) {
				t.Error(err)
			}
		})
	}
}

func TestCallersThatHaveGoneLeaveNothingBehind(t *testing.T) {
	s, c, p := scripted(t, nil)
	p.Close()
	p = s.accept() // it is not welcomed
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 100)
	for range cap(failed) {
		go func() {
			_, err := c.Create(ctx, NewJob{Type: "x"})
			failed <- err
		}()
	}
	p.expect("hello")
	cancel()
	for range cap(failed) {
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	c.requests.mu.Lock()
	defer c.requests.mu.Unlock()
	if len(c.requests.lanes)+len(c.requests.order) > 0 {
		t.Error(c.requests.lanes, c.requests.order)
	}
}
