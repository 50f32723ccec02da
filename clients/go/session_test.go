package packhorse

import (
	"context"
	"errors"
	"testing"
)

// connecting connects while the script welcomes.
func connecting(t *testing.T, url string, options *Options) <-chan *Client {
	t.Helper()
	made := make(chan *Client, 1)
	go func() {
		defer close(made)
		c, err := Connect(soon(t), url, options)
		if err != nil {
			t.Error(err)
			return
		}
		made <- c
	}()
	return made
}

// scripted is a client of a script, with its first connection.
func scripted(t *testing.T, options *Options) (*script, *Client, *peer) {
	t.Helper()
	s := newScript(t)
	made := connecting(t, s.url, options)
	p := s.welcome(nil)
	c := <-made
	if c == nil {
		t.FailNow()
	}
	t.Cleanup(func() {
		c.cancel(ErrClosed) // without a word to the script
		_ = c.Close(context.Background())
	})
	return s, c, p
}

type createdOrNot struct {
	created Created
	err     error
}

func creating(t *testing.T, c *Client, job NewJob) <-chan createdOrNot {
	done := make(chan createdOrNot, 1)
	go func() {
		created, err := c.Create(soon(t), job)
		done <- createdOrNot{created, err}
	}()
	return done
}

func first(m values, key string) values { return m[key].([]any)[0].(values) }

func TestAnUnansweredCreateIsRepeatedWithItsID(t *testing.T) {
	s, c, p := scripted(t, nil)
	done := creating(t, c, NewJob{Type: "x"})
	before := first(p.expect("create"), "jobs")
	p.Close()
	p = s.accept()
	hello := p.expect("hello")
	if hello["client"] != "c1" || string(hello["secret"].([]byte)) != "0123456789abcdef" {
		t.Error(hello)
	}
	p.send(welcomeWith(values{"resumed": true}))
	again := p.expect("create")
	if id := first(again, "jobs")["id"]; id != before["id"] || id == nil {
		t.Error(id, before["id"])
	}
	p.ok(again, values{"job": before["id"], "state": "QUEUED", "existed": true})
	if got := <-done; got.err != nil || !got.created.Existed {
		t.Error(got)
	}
}

func TestARequestThatMightBeDoneTwiceFails(t *testing.T) {
	_, c, p := scripted(t, nil)
	failed := make(chan error, 1)
	go func() {
		results, err := Ask(soon(t), c, &Retry{Jobs: []string{"a"}})
		failed <- errors.Join(err, results[0].Err)
	}()
	p.expect("retry")
	p.Close()
	if err := <-failed; !errors.Is(err, ErrDisconnected) {
		t.Error(err)
	}
}

func TestUniqueJobsGetIDsOfTheKeysPartition(t *testing.T) {
	job := NewJob{Type: "invoice", Unique: &Unique{Key: "customer-7"}}
	if id := orNewID(&job); id[len(id)-9:] != "~10162034" {
		t.Error(id)
	}
}

func TestRefusalsForNowAreWaitedOut(t *testing.T) {
	_, c, p := scripted(t, nil)
	done := creating(t, c, NewJob{Type: "x"})
	q := p.expect("create")
	p.send(values{"t": "error", "id": q["id"], "code": "unavailable", "message": "", "retryable": true, "retry_after_ms": 1})
	q = p.expect("create")
	p.ok(q, values{"problem": values{"code": "quota", "message": "full", "retryable": true, "details": values{"limit": "7"}}})
	got := <-done
	var refusal *Refusal
	if !errors.As(got.err, &refusal) || refusal.Code != CodeQuota || !refusal.Retryable || refusal.Details["limit"] != "7" {
		t.Error(got.err)
	}
}

func TestOneBadItemDoesNotSpoilItsNeighbours(t *testing.T) {
	_, c, p := scripted(t, nil)
	done := make(chan []Result[Created], 1)
	go func() {
		results, err := c.CreateMany(soon(t), []NewJob{{Type: "good", ID: "1"}, {Type: "bad", ID: "2"}})
		if err != nil {
			t.Error(err)
		}
		done <- results
	}()
	q := p.expect("create")
	malformed := values{"t": "error", "id": q["id"], "code": "malformed", "message": ""}
	p.send(malformed)
	for range 2 {
		q = p.expect("create")
		if first(q, "jobs")["type"] == "bad" {
			malformed["id"] = q["id"]
			p.send(malformed)
		} else {
			p.ok(q, values{"job": "1", "state": "QUEUED"})
		}
	}
	if results := <-done; results[0].Err != nil || !IsCode(results[1].Err, CodeMalformed) {
		t.Error(results)
	}
}

func TestAnswersComeInAnyOrderByteByByte(t *testing.T) {
	_, c, p := scripted(t, nil)
	one := creating(t, c, NewJob{Type: "x", ID: "1"})
	first := p.expect("create")
	two := creating(t, c, NewJob{Type: "x", ID: "2"})
	second := p.expect("create")
	stream := frameOf(values{"t": "weather", "sky": "blue"})
	stream = append(stream, frameOf(values{"t": "beat"})...)
	stream = append(stream, frameOf(values{"t": "ok", "id": second["id"], "results": []any{values{"job": "2", "state": "QUEUED"}}})...)
	stream = append(stream, frameOf(values{"t": "ok", "id": first["id"], "results": []any{values{"job": "1", "state": "PENDING", "new": 1}}})...)
	for i := range stream {
		if _, err := p.Write(stream[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-one; got.created.State != StatePending {
		t.Error(got)
	}
	if got := <-two; got.created.Job != "2" {
		t.Error(got)
	}
}

func TestAnAnswerThatCannotBeReadFailsItsRequest(t *testing.T) {
	_, c, p := scripted(t, nil)
	for name, answer := range map[string]values{
		"another record":  {"t": "ok", "results": []any{values{"job": 1}}},
		"no results":      {"t": "ok"},
		"two results":     {"t": "ok", "results": []any{values{}, values{}}},
		"an error's code": {"t": "error", "code": 7},
	} {
		done := creating(t, c, NewJob{Type: "x"})
		answer["id"] = p.expect("create")["id"]
		p.send(values{"t": "beat", "results": 3, "id": "of a later version"})
		p.send(answer)
		var broken *ProtocolError
		if got := <-done; !errors.As(got.err, &broken) {
			t.Error(name, got)
		}
	}
}

func TestInFlightIsKept(t *testing.T) {
	s := newScript(t)
	made := connecting(t, s.url, nil)
	w := welcomeWith(nil)
	w["limits"].(values)["in_flight"] = 1
	w["limits"].(values)["batch"] = 2
	p := s.welcome(w)
	c := <-made
	defer c.cancel(ErrClosed)
	done := make(chan error, 1)
	go func() {
		_, err := c.CreateMany(soon(t), []NewJob{{Type: "x"}, {Type: "x"}, {Type: "x"}})
		done <- err
	}()
	q := p.expect("create")
	if len(q["jobs"].([]any)) != 2 {
		t.Error(q)
	}
	created := values{"job": "1", "state": "QUEUED"}
	// Nothing else may be on its way: the answer is a fence.
	if n := c.requests.unanswered(); n != 1 {
		t.Error(n)
	}
	p.ok(q, created, created)
	p.ok(p.expect("create"), created)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSilenceEndsAConnection(t *testing.T) {
	s := newScript(t)
	made := connecting(t, s.url, nil)
	p := s.welcome(values{"heartbeat_ms": 20, "timeout_ms": 60})
	c := <-made
	defer c.cancel(ErrClosed)
	if body, err := readFrame(p.reader, maxFrameBytes); err != nil || value(&decoder{buf: body}).(values)["t"] != "beat" {
		t.Error(body, err)
	}
	p.gone()
	p = s.welcome(values{"resumed": true})
	p.send(values{"t": "beat"})
}

func TestASupersededClientIsOver(t *testing.T) {
	statuses := make(chan Status, 10)
	_, c, p := scripted(t, &Options{OnStatus: func(s Status) { statuses <- s }})
	p.send(values{"t": "error", "code": "superseded", "message": "", "closing": true})
	<-c.Done()
	if !IsCode(c.Err(), CodeSuperseded) {
		t.Error(c.Err())
	}
	for _, kind := range []StatusKind{StatusConnected, StatusDisconnected, StatusClosed} {
		if s := <-statuses; s.Kind != kind {
			t.Error(s, kind)
		}
	}
	if _, err := c.Create(soon(t), NewJob{Type: "x"}); !IsCode(err, CodeSuperseded) {
		t.Error(err)
	}
}

func TestADrainingBrokerIsLeft(t *testing.T) {
	s, c, p := scripted(t, nil)
	done := creating(t, c, NewJob{Type: "x"})
	q := p.expect("create")
	p.send(values{"t": "drain", "grace_ms": 60000})
	p.send(values{"t": "error", "id": q["id"], "code": "draining", "message": "", "retryable": true})
	p.gone()
	p = s.welcome(values{"resumed": true})
	p.ok(p.expect("create"), values{"job": "1", "state": "QUEUED"})
	if got := <-done; got.err != nil {
		t.Error(got.err)
	}
}

func TestRefusedAndStrangeWelcomes(t *testing.T) {
	limits := welcomeWith(nil)["limits"].(values)
	limits["frame_bytes"] = 1
	for name, answer := range map[string]values{
		"secret_wrong":  {"t": "error", "code": "secret_wrong", "message": "", "closing": true},
		"version":       welcomeWith(values{"version": 2}),
		"small frames":  welcomeWith(values{"limits": limits}),
		"another t":     {"t": "beat"},
		"no limits":     welcomeWith(values{"limits": nil}),
		"short timeout": welcomeWith(values{"timeout_ms": 0}),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			failed := make(chan error, 1)
			go func() {
				_, err := Connect(soon(t), s.url, nil)
				failed <- err
			}()
			p := s.accept()
			p.expect("hello")
			p.send(answer)
			if err := <-failed; err == nil {
				t.Error("it connected")
			}
			p.gone()
		})
	}
}

func TestASlowWelcomeIsGivenUpWithTheContext(t *testing.T) {
	s := newScript(t)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := Connect(ctx, s.url, &Options{WaitForBroker: true})
		failed <- err
	}()
	s.accept().expect("hello")
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestABrokerThatCannotBeReadIsNotTriedAgain(t *testing.T) {
	s, c, p := scripted(t, nil)
	p.Close()
	p = s.accept()
	p.expect("hello")
	p.send(welcomeWith(values{"heartbeat_ms": "soon"}))
	<-c.Done()
	var broken *ProtocolError
	if !errors.As(c.Err(), &broken) {
		t.Error(c.Err())
	}
}
