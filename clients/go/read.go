package packhorse

import (
	"context"
	"iter"
)

// Get shows jobs.
func (c *Client) Get(ctx context.Context, jobs ...string) ([]Result[JobView], error) {
	return Ask(ctx, c, &Get{Jobs: jobs})
}

// Cancel cancels jobs: a running one is asked to end within the grace time.
func (c *Client) Cancel(ctx context.Context, q Cancel) ([]Result[Ended], error) {
	return Ask(ctx, c, &q)
}

// List finds jobs, page after page; q.Limit bounds the pages, not the list.
func (c *Client) List(ctx context.Context, q ListJobs) iter.Seq2[JobSummary, error] {
	return func(yield func(JobSummary, error) bool) {
		for {
			page, err := askOne(ctx, c, &q, repeat)
			if err != nil {
				yield(JobSummary{}, err)
				return
			}
			for _, job := range page.Jobs {
				if !yield(job, nil) {
					return
				}
			}
			if page.Cursor == nil {
				return
			}
			q.Cursor = page.Cursor
		}
	}
}

// Logs reads a job's log from an offset up to where it ends now.
func (c *Client) Logs(ctx context.Context, job string, offset int64) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		for {
			page, err := askOne(ctx, c, &ReadLog{Job: job, Offset: offset}, repeat)
			if err != nil {
				yield(LogEntry{}, err)
				return
			}
			for _, entry := range page.Entries {
				if !yield(entry, nil) {
					return
				}
				offset = entry.Offset + 1
			}
			if len(page.Entries) == 0 || offset >= page.End {
				return
			}
		}
	}
}
