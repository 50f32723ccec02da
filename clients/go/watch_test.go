package packhorse

import (
	"errors"
	"io"
	"testing"
)

func event(fields values) values {
	fields["job"] = "j"
	return values{"t": "events", "events": []any{fields}}
}

func TestAWatchGoesOnOverConnections(t *testing.T) {
	s, c, p := scripted(t, nil)
	made := make(chan *Watch, 1)
	go func() {
		w, err := c.Watch(soon(t), "j")
		if err != nil {
			t.Error(err)
		}
		made <- w
	}()
	q := p.expect("watch")
	p.send(event(values{"version": 2, "state": "STARTED"})) // overtakes the answer, which knows it
	p.send(event(values{"version": 3, "state": "STARTED", "progress": values{"percent": 7}}))
	p.ok(q, values{"state": "STARTED", "version": 2})
	w := <-made
	if e, err := w.Next(soon(t)); err != nil || e.Version != 3 || e.Progress.Percent != 7 {
		t.Error(e, err)
	}
	p.Close()
	p = s.welcome(values{"resumed": true})
	p.ok(p.expect("watch"), values{"state": "COMPLETE", "version": 9})
	if e, err := w.Next(soon(t)); err != nil || e.Version != 9 || e.State != StateComplete {
		t.Error(e, err)
	}
	p.Close()
	p = s.welcome(values{"resumed": true})
	p.ok(p.expect("watch"), values{"problem": values{"code": "not_found", "message": ""}})
	if e, err := w.Next(soon(t)); err != nil || !e.Removed {
		t.Error(e, err)
	}
	if _, err := w.Next(soon(t)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestTheLastWatchOfAJobUnsubscribes(t *testing.T) {
	_, c, p := scripted(t, nil)
	made := make(chan *Watch, 2)
	for range 2 {
		go func() {
			w, err := c.Watch(soon(t), "j")
			if err != nil {
				t.Error(err)
			}
			made <- w
		}()
	}
	for n := 0; n < 2; {
		q := p.expect("watch") // one request, or two
		answers := make([]any, len(q["jobs"].([]any)))
		for i := range answers {
			answers[i] = values{"state": "QUEUED", "version": 1}
		}
		n += len(answers)
		p.ok(q, answers...)
	}
	first, second := <-made, <-made
	if err := first.Close(soon(t)); err != nil {
		t.Error(err)
	}
	p.send(event(values{"version": 2}))
	if e, err := second.Next(soon(t)); err != nil || e.Version != 2 {
		t.Error(e, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- second.Close(soon(t)) }()
	p.ok(p.expect("unwatch"), values{})
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestASlowReaderOfAWatchKeepsTheNewest(t *testing.T) {
	c := &Client{}
	w := &Watch{client: c, versions: map[string]int64{"j": 0}, fresh: make(chan struct{}, 1)}
	c.watches.open = map[*Watch]bool{w: true}
	for version := range int64(2*maxNews + 1) {
		c.watches.pushed([]Event{{Job: "j", Version: version}})
	}
	if e, _ := w.take(); len(w.news) != maxNews-1 || e.Version != maxNews+1 {
		t.Error(len(w.news), e)
	}
}
