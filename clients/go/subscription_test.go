package packhorse

import (
	"context"
	"log/slog"
	"strings"
	"testing"
)

func unavailable(q values) values {
	return values{
		"t": "error", "id": q["id"], "code": "unavailable", "message": "", "retryable": true, "retry_after_ms": 1,
	}
}

// runs is a client's runner of the type x, whose first take is answered.
func runs(t *testing.T, c *Client, p *peer, options RunnerOptions) *Runner {
	t.Helper()
	made := make(chan *Runner, 1)
	go func() {
		r, err := c.Run(soon(t), options)
		if err != nil {
			t.Error(err)
		}
		made <- r
	}()
	p.ok(p.expect("take"), values{})
	return <-made
}

func claim(job string) values {
	token := make([]byte, 16)
	copy(token, job)
	return values{"job": job, "token": token, "fence": 1, "type": "x", "attempt": 1}
}

func claims(claims ...any) values { return values{"t": "claims", "claims": claims} }

func token(job string) []byte { return claim(job)["token"].([]byte) }

// fence returns when the client has read all that was sent before.
func fence(t *testing.T, c *Client, p *peer) {
	t.Helper()
	done := creating(t, c, NewJob{Type: "fence"})
	p.ok(p.expect("create"), values{"job": "fence", "state": "QUEUED"})
	<-done
}

func TestASubscriptionIsRepeatedAsLongAsItsConnectionLives(t *testing.T) {
	s, c, p := scripted(t, nil)
	go func() { _, _ = c.Run(soon(t), RunnerOptions{Types: map[string]Work{"x": {Func: echo}}}) }()
	p.ok(p.expect("take"), values{})
	p.Close()
	p = s.welcome(values{"resumed": true})
	for range maxTries + 1 {
		p.send(unavailable(p.expect("take")))
	}
	p.ok(p.expect("take"), values{})
}

func TestATakeOfALostConnectionIsNotSentOnTheNext(t *testing.T) {
	s, c, p := scripted(t, nil)
	r := runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
	p.Close()
	p = s.welcome(values{"resumed": true})
	p.expect("take")
	p.Close() // unanswered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	shut := make(chan error, 1)
	p = s.accept()
	p.expect("hello")
	go func() { shut <- r.Shutdown(ctx) }()
	<-shut
	p.send(welcomeWith(values{"resumed": true}))
	done := creating(t, c, NewJob{Type: "fence"})
	p.ok(p.expect("create"), values{"job": "fence", "state": "QUEUED"})
	<-done
}

func TestARefusedTakeIsRepeatedOnTheTermsOfNow(t *testing.T) {
	_, c, p := scripted(t, nil)
	made := make(chan *Runner, 1)
	go func() {
		r, _ := c.Run(soon(t), RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
		made <- r
	}()
	q := p.expect("take")
	c.claims.stop(c.claims.current())
	p.send(unavailable(q))
	if r := <-made; r == nil {
		t.Error("it was not answered")
	}
	fence(t, c, p)
}

func TestAHandlerThatStoppedWhileAwayJoinsNoMore(t *testing.T) {
	s, c, p := scripted(t, nil)
	made := make(chan *Handler, 1)
	go func() {
		h, _ := c.Handle(soon(t), HandlerOptions{Groups: []string{"g"}, Func: func(context.Context, *Outcome) error { return nil }})
		made <- h
	}()
	p.ok(p.expect("join"), values{})
	h := <-made
	p.Close()
	p = s.welcome(values{"resumed": true})
	p.expect("join")
	p.Close()
	p = s.accept()
	p.expect("hello")
	if err := h.Stop(soon(t)); err != nil {
		t.Error(err)
	}
	p.send(welcomeWith(values{"resumed": true}))
	fence(t, c, p)
}

func TestATakeThatIsUnderWayAtShutdownDoesNotFollowTheTakeOfNothing(t *testing.T) {
	s, c, p := scripted(t, nil)
	r := runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
	asked, goOn := make(chan bool, 1), make(chan bool)
	c.claims.mu.Lock()
	r.taking.terms = func() Request[Done] {
		q := r.take()
		asked <- true
		<-goOn
		return q
	}
	c.claims.mu.Unlock()
	p.Close()
	p = s.welcome(values{"resumed": true})
	<-asked
	shut := make(chan error, 1)
	go func() { shut <- r.Shutdown(soon(t)) }()
	<-r.taking.ctx.Done()
	close(goOn)
	q := p.expect("take")
	for q["credit"] != int64(0) {
		p.ok(q, values{})
		q = p.expect("take")
	}
	p.ok(q, values{})
	if err := <-shut; err != nil {
		t.Error(err)
	}
	fence(t, c, p)
}

func TestARefusalOfWhatWasGrantedIsLoggedOnEachConnection(t *testing.T) {
	logged := make(chan string, 100)
	s, c, p := scripted(t, &Options{Logger: slog.New(slog.NewTextHandler(lines(logged), nil))})
	runs(t, c, p, RunnerOptions{Types: map[string]Work{"x": {Func: echo}}})
	p.Close()
	p = s.welcome(values{"resumed": true})
	q := p.expect("take")
	p.send(values{"t": "error", "id": q["id"], "code": "forbidden", "message": "no more"})
	for ctx := soon(t); ; {
		select {
		case line := <-logged:
			if strings.Contains(line, "no more") {
				return
			}
		case <-ctx.Done():
			t.Fatal("the refusal was not logged")
		}
	}
}

type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
