package packhorse

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/crc32"
)

// CreateOption says who handles the outcome of what is created.
type CreateOption func(*Create)

// AndHandle makes the client a handler of the job: it is owed the outcome.
func AndHandle() CreateOption { return func(q *Create) { q.Handle = true } }

// ForGroup makes a group of handlers one of the job.
func ForGroup(name string) CreateOption { return func(q *Create) { q.Group = name } }

// Create creates a job. Without an id of its own it gets one here, so that a create whose answer
// was lost with a connection is repeated without making a second job. Concurrent creates leave in
// one frame.
func (c *Client) Create(ctx context.Context, job NewJob, options ...CreateOption) (Created, error) {
	results, err := c.CreateMany(ctx, []NewJob{job}, options...)
	if err != nil {
		return Created{}, err
	}
	if results[0].NotMet {
		c.options.Logger.Warn("packhorse: created, but without the durability asked for", "job", results[0].Value.Job)
	}
	return results[0].Value, results[0].Err
}

// CreateMany creates jobs, each of which may be refused by itself.
func (c *Client) CreateMany(ctx context.Context, jobs []NewJob, options ...CreateOption) ([]Result[Created], error) {
	q := &Create{Jobs: jobs}
	for _, option := range options {
		option(q)
	}
	return Ask(ctx, c, q)
}

// Call creates a job, waits for its outcome, and returns its result, or a *FailedError.
func (c *Client) Call(ctx context.Context, job NewJob) ([]byte, error) {
	job.ID = orNewID(&job)
	w := c.outcomes.enter(job.ID) // first, or a Handler may get the outcome
	defer c.outcomes.leave(w)
	created, err := c.Create(ctx, job, AndHandle())
	if err != nil {
		return nil, err
	}
	var outcome *Outcome
	if created.Job == job.ID {
		outcome, err = c.outcomes.wait(ctx, w)
	} else { // the one that has its unique key
		outcome, err = c.Wait(ctx, created.Job)
	}
	if err != nil {
		return nil, err
	}
	return outcome.Result, outcome.Err()
}

// orNewID is a job's id, or a new one: that of a job with a unique key leads to the key's partition.
func orNewID(job *NewJob) string {
	if job.ID != "" {
		return job.ID
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	if job.Unique != nil {
		id += fmt.Sprintf("~%08x", crc32.ChecksumIEEE([]byte(job.Type+"\x00"+job.Unique.Key)))
	}
	return id
}
