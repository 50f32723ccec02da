package main

import (
	"context"
	"encoding/json"
	"slices"

	packhorse "github.com/packhorse/packhorse/clients/go"
)

var behaviours = map[string]packhorse.Func{
	"echo": echo, "reverse": reverse, "report": report, "fail": fail, "fail_for_good": failForGood, "hold": hold,
}

func echo(_ context.Context, job *packhorse.Job) ([]byte, error) { return job.Payload, nil }

func reverse(_ context.Context, job *packhorse.Job) ([]byte, error) {
	slices.Reverse(job.Payload)
	return job.Payload, nil
}

func report(ctx context.Context, job *packhorse.Job) ([]byte, error) {
	for i, text := range []string{"begin", "half", "end"} {
		if err := job.Progress(ctx, 50*i, text); err != nil {
			return nil, err
		}
	}
	for _, line := range []string{"first", "second \u2713"} {
		if err := job.Log(ctx, line); err != nil {
			return nil, err
		}
	}
	return job.Payload, nil
}

func fail(_ context.Context, job *packhorse.Job) ([]byte, error) {
	return nil, &packhorse.Error{Type: "DriverError", Message: string(job.Payload)}
}

func failForGood(ctx context.Context, job *packhorse.Job) ([]byte, error) {
	_, err := fail(ctx, job)
	return nil, packhorse.NoRetry(err)
}

func hold(ctx context.Context, _ *packhorse.Job) ([]byte, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (d *driver) run(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told struct {
		Types  map[string]int
		Credit int
		How    map[string]string
	}
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	options := packhorse.RunnerOptions{
		Types: map[string]packhorse.Work{}, Credit: told.Credit,
		OnEnded: func(job *packhorse.Job, how packhorse.Ending) {
			d.write(object{"event": "ended", "job": job.Job, "how": how})
		},
	}
	for name, most := range told.Types {
		behave := behaviours[told.How[name]]
		if behave == nil {
			return nil, unsupported
		}
		options.Types[name] = packhorse.Work{Most: most, Func: func(ctx context.Context, job *packhorse.Job) ([]byte, error) {
			d.write(object{"event": "running", "job": job.Job, "type": job.Type, "attempt": job.Attempt})
			return behave(ctx, job)
		}}
	}
	runner, err := client.Run(ctx, options)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.runner = runner
	d.mu.Unlock()
	return object{}, nil
}

// drain shuts the runner down, with all the time that its jobs take.
func (d *driver) drain(ctx context.Context, _ *packhorse.Client, _ []byte) (any, error) {
	d.mu.Lock()
	runner := d.runner
	d.mu.Unlock()
	if runner == nil {
		return object{}, nil
	}
	return object{}, runner.Shutdown(ctx)
}
