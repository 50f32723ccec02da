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
	w := &Watch{client: c, versions: map[string]int64{}, fresh: make(chan struct{}, 1)}
	for _, job := range jobs {
		w.versions[job] = 0
	}
	c.watches.mu.Lock()
	if c.watches.open == nil {
		c.watches.open = map[*Watch]bool{}
	}
	c.watches.open[w] = true
	c.watches.mu.Unlock()
	now, err := ask(ctx, c, &watchMessage{Jobs: jobs}, repeat)
	if err != nil {
		w.forget()
		return nil, err
	}
	w.Now = now
	if refused := w.begin(jobs, now); len(refused) == len(now) {
		w.forget()
		return nil, errors.Join(refused...)
	}
	return w, nil
}

// begin takes the answers to a subscription in, and tells the refusals among them.
func (w *Watch) begin(jobs []string, now []Result[Watched]) (refused []error) {
	w.client.watches.mu.Lock()
	defer w.client.watches.mu.Unlock()
	for i, result := range now {
		if result.Err != nil {
			delete(w.versions, jobs[i])
			refused = append(refused, result.Err)
			continue
		}
		// Events may have overtaken the answer: what is not newer is old news.
		w.news = slices.DeleteFunc(w.news, func(e Event) bool {
			return e.Job == jobs[i] && e.Version <= result.Value.Version && !e.Removed
		})
		w.versions[jobs[i]] = max(w.versions[jobs[i]], result.Value.Version)
	}
	return refused
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

// Close ends the subscription, unless another Watch has it too.
func (w *Watch) Close(ctx context.Context) error {
	left := w.forget()
	if len(left) == 0 || w.client.Err() != nil {
		return nil
	}
	_, err := ask(ctx, w.client, &unwatchMessage{Jobs: left}, repeat)
	return err
}

// forget takes the watch out of the book, and tells the jobs that no other one follows.
func (w *Watch) forget() []string {
	book := &w.client.watches
	book.mu.Lock()
	defer book.mu.Unlock()
	delete(book.open, w)
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
	return left
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

// began subscribes again on a new connection; what was missed becomes an event.
func (b *watchBook) began(c *Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.open {
		if len(w.versions) == 0 {
			continue
		}
		jobs := slices.Collect(maps.Keys(w.versions))
		c.spawn(func(ctx context.Context) {
			now, err := ask(ctx, c, &watchMessage{Jobs: jobs}, repeat)
			if err != nil {
				return
			}
			var news []Event
			for i, result := range now {
				view := result.Value
				if IsCode(result.Err, CodeNotFound) {
					news = append(news, Event{Job: jobs[i], Removed: true})
				} else if result.Err == nil {
					news = append(news, Event{Job: jobs[i], Version: view.Version, State: view.State, Progress: view.Progress})
				}
			}
			b.pushed(news)
		})
	}
}
