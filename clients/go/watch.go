package packhorse

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
)

// maxNews is how much news a Watch keeps for a slow reader; beyond it the oldest goes, as each
// event says how its job is now.
const maxNews = 1000

// Watch follows jobs. Close it.
type Watch struct {
	// Now is how each job stood when it was watched, in the order in which they were named.
	Now []Result[Watched]

	client   *Client
	watching *subscription[Watched]
	named    []string
	versions map[string]int64 // of the jobs that still exist, as far as it is known
	news     []Event
	fresh    chan struct{}
}

// watchBook holds the watches of a client, and guards what is in them.
type watchBook struct {
	mu   sync.Mutex
	open map[*Watch]bool
}

// Watch subscribes to jobs' events: Next waits for one. The error tells of jobs that can't be watched,
// unless others can: then Now does.
func (c *Client) Watch(ctx context.Context, jobs ...string) (*Watch, error) {
	w := &Watch{client: c, named: jobs, versions: map[string]int64{}, fresh: make(chan struct{}, 1)}
	w.watching = newSubscription(c, w.terms, w.answered)
	for _, job := range jobs {
		w.versions[job] = 0
	}
	c.watches.mu.Lock()
	if c.watches.open == nil {
		c.watches.open = map[*Watch]bool{}
	}
	c.watches.open[w] = true
	c.watches.mu.Unlock()
	w.watching.begin()
	if err := w.watching.granted(ctx); err != nil {
		_ = w.Close(ctx)
		return nil, err
	}
	return w, nil
}

// terms are the jobs that are followed, those of a new Watch as they were named.
func (w *Watch) terms() Request[Watched] {
	book := &w.client.watches
	book.mu.Lock()
	defer book.mu.Unlock()
	jobs := w.named
	if w.Now != nil {
		jobs = slices.Collect(maps.Keys(w.versions))
		if len(jobs) == 0 {
			return nil
		}
	}
	if !book.open[w] {
		return nil
	}
	return &watchMessage{Jobs: jobs}
}

// answered takes in how the jobs are: at first as Now, then as news. Its error tells of jobs that can't be
// watched, if none can.
func (w *Watch) answered(q Request[Watched], results []Result[Watched]) error {
	w.client.watches.mu.Lock()
	defer w.client.watches.mu.Unlock()
	again := w.Now != nil
	var refused []error
	var news []Event
	for i, job := range q.(*watchMessage).Jobs {
		view, err := results[i].Value, results[i].Err
		switch {
		case again && IsCode(err, CodeNotFound):
			news = append(news, Event{Job: job, Removed: true})
		case again && err == nil:
			news = append(news, Event{Job: job, Version: view.Version, State: view.State, Progress: view.Progress})
		case again:
		case err != nil:
			delete(w.versions, job)
			refused = append(refused, err)
		default:
			// Events may have overtaken the answer: what is not newer is old news.
			w.news = slices.DeleteFunc(w.news, func(e Event) bool {
				return e.Job == job && e.Version <= view.Version && !e.Removed
			})
			w.versions[job] = max(w.versions[job], view.Version)
		}
	}
	if again {
		w.add(news)
		return nil
	}
	w.Now = results
	if len(refused) < len(results) {
		return nil
	}
	return errors.Join(refused...)
}

// Next returns the next event, or io.EOF when all jobs are gone.
func (w *Watch) Next(ctx context.Context) (*Event, error) {
	for {
		if event, err := w.take(); event != nil || err != nil {
			return event, err
		}
		select {
		case <-w.fresh:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-w.client.Done():
			return nil, w.client.Err()
		}
	}
}

// take is the oldest news; nil if there is none yet.
func (w *Watch) take() (*Event, error) {
	w.client.watches.mu.Lock()
	defer w.client.watches.mu.Unlock()
	switch {
	case len(w.news) > 0:
		event := w.news[0]
		w.news = w.news[1:]
		return &event, nil
	case len(w.versions) == 0:
		return nil, io.EOF
	}
	return nil, nil
}

// Close ends the subscription, but for jobs that another Watch has too.
func (w *Watch) Close(ctx context.Context) error {
	book := &w.client.watches
	book.mu.Lock()
	delete(book.open, w)
	book.mu.Unlock()
	w.watching.end(nil)
	done := func(Request[Done], []Result[Done]) error { return nil }
	err := subscribe(ctx, w.client, w.unwatch, done)
	if errors.Is(err, ErrDisconnected) || w.client.Err() != nil {
		return nil // it ended with the connection
	}
	return err
}

// unwatch is for the jobs that nobody else follows.
func (w *Watch) unwatch() Request[Done] {
	book := &w.client.watches
	book.mu.Lock()
	defer book.mu.Unlock()
	var left []string
	for job := range w.versions {
		shared := false
		for other := range book.open {
			_, follows := other.versions[job]
			shared = shared || follows
		}
		if !shared {
			left = append(left, job)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &unwatchMessage{Jobs: left}
}

func (b *watchBook) pushed(events []Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.open {
		w.add(events)
	}
}

func (w *Watch) add(events []Event) {
	for _, event := range events {
		known, follows := w.versions[event.Job]
		if !follows || event.Version <= known && !event.Removed {
			continue
		}
		w.versions[event.Job] = event.Version
		if event.Removed {
			delete(w.versions, event.Job)
		}
		w.news = append(w.news, event)
	}
	w.news = w.news[max(0, len(w.news)-maxNews):]
	select {
	case w.fresh <- struct{}{}:
	default:
	}
}

// began watches again on a new connection.
func (b *watchBook) began() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.open {
		w.watching.begin()
	}
}
