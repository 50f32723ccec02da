package packhorse

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestAJobIsCreatedRunAndHandled(t *testing.T) {
	b := broker(t)
	for name, url := range map[string]string{"tcp": b.url, "unix": "unix://" + b.socket} {
		t.Run(name, func(t *testing.T) {
			worker, producer := connected(t, url, nil), connected(t, url, nil)
			running(t, worker, echo)
			for _, payload := range [][]byte{nil, []byte("\x00\xff binary"), make([]byte, 1<<20)} {
				result, err := producer.Call(soon(t), NewJob{Type: typeName(t), Payload: payload})
				if err != nil || string(result) != string(payload) {
					t.Errorf("got %d bytes, %v", len(result), err)
				}
			}
		})
	}
}

func TestARunnerReports(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	running(t, worker, func(ctx context.Context, job *Job) ([]byte, error) {
		if err := job.Progress(ctx, 50, "half"); err != nil {
			return nil, err
		}
		if _, err := job.Extend(ctx, time.Hour); err != nil {
			return nil, err
		}
		return nil, job.Log(ctx, "first", "second ✓")
	})
	job, err := producer.Create(soon(t), NewJob{Type: typeName(t), Persistent: true, Labels: []string{"a label"}}, AndHandle())
	if err != nil {
		t.Fatal(err)
	}
	if o, err := producer.Wait(soon(t), job.Job); err != nil || o.Err() != nil {
		t.Fatal(o, err)
	}
	var messages []string
	for entry, err := range producer.Logs(soon(t), job.Job, 0) {
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, entry.Message)
	}
	if !slices.Equal(messages, []string{"half", "first", "second ✓"}) {
		t.Errorf("the log is %q", messages)
	}
	for found, err := range producer.List(soon(t), ListJobs{Type: typeName(t), Label: "a label"}) {
		if err != nil || found.ID != job.Job || found.State != StateComplete {
			t.Error(found, err)
		}
	}
	removed, err := Ask(soon(t), producer, &Remove{Jobs: []string{job.Job, "no such job"}})
	if err != nil || removed[0].Err != nil || !IsCode(removed[1].Err, CodeNotFound) {
		t.Error(removed, err)
	}
}

func TestAFailureIsToldAndRetried(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	running(t, worker, func(_ context.Context, job *Job) ([]byte, error) {
		switch {
		case string(job.Payload) == "panic":
			panic("oh")
		case string(job.Payload) == "for good":
			return nil, NoRetry(&Error{Type: "Gone", Message: "for good"})
		case job.Attempt < 3:
			return nil, RetryIn(time.Millisecond, errors.New("not yet"))
		}
		return []byte("third"), nil
	})
	result, err := producer.Call(soon(t), NewJob{Type: typeName(t), Attempts: 3})
	if err != nil || string(result) != "third" {
		t.Error(string(result), err)
	}
	for payload, kind := range map[string]string{"panic": "panic", "for good": "Gone"} {
		job := NewJob{Type: typeName(t), Payload: []byte(payload)}
		if payload == "for good" {
			job.Attempts = 3
		}
		_, err = producer.Call(soon(t), job)
		var failed *FailedError
		var said *Error
		if !errors.As(err, &failed) || failed.Outcome.Attempt != 1 || !errors.As(err, &said) || said.Type != kind {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestConcurrentCreatesShareFrames(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	running(t, worker, echo)
	var all sync.WaitGroup
	for i := range 2000 {
		all.Add(1)
		go func() {
			defer all.Done()
			payload := fmt.Sprint(i)
			result, err := producer.Call(soon(t), NewJob{Type: typeName(t), Payload: []byte(payload)})
			if err != nil || string(result) != payload {
				t.Errorf("%d: %q, %v", i, result, err)
			}
		}()
	}
	all.Wait()
	producer.requests.mu.Lock()
	defer producer.requests.mu.Unlock()
	if producer.requests.id > 4000 {
		t.Errorf("%d requests for 2,000 jobs", producer.requests.id)
	}
}

func TestMoreOutcomesThanTheBrokerSendsAreWaitedFor(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	running(t, worker, echo)
	jobs := make([]NewJob, 2500)
	for i := range jobs {
		jobs[i] = NewJob{Type: typeName(t)}
	}
	created, err := producer.CreateMany(soon(t), jobs, AndHandle())
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range slices.Backward(created) {
		if o, err := producer.Wait(soon(t), job.Value.Job); err != nil || o.Err() != nil {
			t.Fatal(o, err)
		}
	}
}

func TestACancelledJobIsToldWhy(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	began, causes := make(chan bool, 1), make(chan error, 1)
	running(t, worker, func(ctx context.Context, _ *Job) ([]byte, error) {
		began <- true
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	job, err := producer.Create(soon(t), NewJob{Type: typeName(t), Attempts: 5}, AndHandle())
	if err != nil {
		t.Fatal(err)
	}
	<-began
	if _, err := producer.Cancel(soon(t), Cancel{Jobs: []string{job.Job}, Why: "not wanted"}); err != nil {
		t.Fatal(err)
	}
	o, err := producer.Wait(soon(t), job.Job)
	if err != nil || o.Reason != ReasonCancelled {
		t.Error(o, err)
	}
	var cancelled *CancelledError
	if err := <-causes; !errors.As(err, &cancelled) || cancelled.Why != "not wanted" {
		t.Error(err)
	}
}

func TestARemovedJobIsRevoked(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	began, endings := make(chan string, 1), make(chan Ending, 1)
	hold := func(ctx context.Context, job *Job) ([]byte, error) {
		began <- job.Job
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	_, err := worker.Run(soon(t), RunnerOptions{
		Types: map[string]Work{typeName(t): {Func: hold}}, OnEnded: func(_ *Job, how Ending) { endings <- how },
	})
	if err != nil {
		t.Fatal(err)
	}
	job, err := producer.Create(soon(t), NewJob{Type: typeName(t)}, AndHandle())
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := producer.Wait(soon(t), job.Job)
		waited <- err
	}()
	if _, err := Ask(soon(t), producer, &Remove{Jobs: []string{<-began}}); err != nil {
		t.Fatal(err)
	}
	if how := <-endings; how != EndingRevoked {
		t.Error(how)
	}
	if err := <-waited; !IsCode(err, CodeNotFound) {
		t.Error(err)
	}
}

func TestAGroupHandlesOutcomes(t *testing.T) {
	b := broker(t)
	worker, producer, member := connected(t, b.url, nil), connected(t, b.url, nil), connected(t, b.url, nil)
	running(t, worker, echo)
	outcomes, tries := make(chan *Outcome, 1), 0
	h, err := member.Handle(soon(t), HandlerOptions{Groups: []string{typeName(t)}, Func: func(_ context.Context, o *Outcome) error {
		if tries++; tries == 1 {
			return errors.New("not yet")
		}
		outcomes <- o
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	job, err := producer.Create(soon(t), NewJob{Type: typeName(t), Payload: []byte("x")}, ForGroup(typeName(t)))
	if err != nil {
		t.Fatal(err)
	}
	if o := <-outcomes; o.Job != job.Job || string(o.Result) != "x" || o.Group != typeName(t) {
		t.Error(o)
	}
	if err := h.Stop(soon(t)); err != nil {
		t.Error(err)
	}
}

func TestAWatchTellsNews(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	job, err := producer.Create(soon(t), NewJob{Type: typeName(t)}, AndHandle())
	if err != nil {
		t.Fatal(err)
	}
	w, err := producer.Watch(soon(t), job.Job)
	if err != nil || w.Now[0].Value.State != StateQueued {
		t.Fatal(w, err)
	}
	running(t, worker, echo)
	if _, err := producer.Wait(soon(t), job.Job); err != nil {
		t.Fatal(err)
	}
	var last *Event
	for err == nil {
		var event *Event
		if event, err = w.Next(soon(t)); event != nil {
			last = event
		}
	}
	if last == nil || !last.Removed {
		t.Errorf("the last news are %v, %v", last, err)
	}
	if _, err := producer.Watch(soon(t), "no such job"); !IsCode(err, CodeNotFound) {
		t.Error(err)
	}
}

func TestShutdownGivesBackWhatDoesNotEnd(t *testing.T) {
	b := broker(t)
	worker, producer := connected(t, b.url, nil), connected(t, b.url, nil)
	began, finish := make(chan bool, 1), make(chan bool)
	r := running(t, worker, func(context.Context, *Job) ([]byte, error) {
		began <- true
		<-finish
		return nil, nil
	})
	job, err := producer.Create(soon(t), NewJob{Type: typeName(t)}, AndHandle())
	if err != nil {
		t.Fatal(err)
	}
	<-began
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(finish)
	views, err := producer.Get(soon(t), job.Job)
	if err != nil || views[0].Value.State != StateQueued || views[0].Value.CurrentAttempt != 0 {
		t.Error(views, err)
	}
	running(t, worker, echo)
	if o, err := producer.Wait(soon(t), job.Job); err != nil || o.Attempt != 1 {
		t.Error(o, err)
	}
}

func TestABatchBeyondTheLimitIsCut(t *testing.T) {
	c := connected(t, broker(t).url, nil)
	jobs := make([]string, c.Limits().Batch*2+1)
	for i := range jobs {
		jobs[i] = "no such job"
	}
	results, err := c.Get(soon(t), jobs...)
	if err != nil || len(results) != len(jobs) || !IsCode(results[len(jobs)-1].Err, CodeNotFound) {
		t.Error(len(results), err)
	}
}

func TestWhatCannotBeSentIsRefusedByItself(t *testing.T) {
	c := connected(t, broker(t).url, nil)
	var invalid *InvalidError
	if _, err := c.Create(soon(t), NewJob{Type: " "}); !errors.As(err, &invalid) {
		t.Error(err)
	}
	large := NewJob{Type: typeName(t), Payload: make([]byte, c.Limits().PayloadBytes+1)}
	if _, err := c.Create(soon(t), large); !IsCode(err, CodeTooLarge) {
		t.Error(err)
	}
	large.Payload = make([]byte, c.Limits().FrameBytes)
	if _, err := c.Create(soon(t), large); !IsCode(err, CodeTooLarge) {
		t.Error(err)
	}
	if _, err := c.Get(soon(t)); !errors.As(err, &invalid) {
		t.Error(err)
	}
}

func TestNothingRunsAfterClose(t *testing.T) {
	url := broker(t).url
	before := runtime.NumGoroutine()
	c, err := Connect(soon(t), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	running(t, c, echo)
	if _, err := c.Handle(soon(t), HandlerOptions{Func: func(context.Context, *Outcome) error { return nil }, Groups: []string{"g"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(soon(t), NewJob{Type: typeName(t)}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(soon(t), NewJob{Type: typeName(t)}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	for try := 0; runtime.NumGoroutine() > before; try++ {
		if try == 100 {
			all := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", all[:runtime.Stack(all, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}
