package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"time"

	packhorse "github.com/packhorse/packhorse/clients/go"
)

// do does one instruction; line is it whole.
func (d *driver) do(what string, line []byte) (any, error) {
	if what == "connect" {
		return d.connect(line)
	}
	d.mu.Lock()
	client := d.client
	d.mu.Unlock()
	known := map[string]func(context.Context, *packhorse.Client, []byte) (any, error){
		"create": create, "run": d.run, "handle_outcomes": d.handleOutcomes, "wait": wait, "get": get, "logs": logs,
		"cancel": cancel, "watch": d.watch, "drain": d.drain, "request": request, "close": closeClient,
	}
	switch act := known[what]; {
	case act == nil:
		return nil, unsupported
	case client == nil:
		return nil, &packhorse.InvalidError{Field: what, Why: "there is no client yet"}
	default:
		return act(context.Background(), client, line)
	}
}

func (d *driver) connect(line []byte) (any, error) {
	var told struct {
		URL, Client      string
		Secret           []byte
		TimeoutMs        int64  `json:"timeout_ms"`
		ConnectTimeoutMs int64  `json:"connect_timeout_ms"`
		CAFile           string `json:"ca_file"`
	}
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	options := &packhorse.Options{
		Client: told.Client, Secret: told.Secret, Timeout: time.Duration(told.TimeoutMs) * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), OnStatus: d.status(),
	}
	if told.CAFile != "" {
		pem, err := os.ReadFile(told.CAFile)
		if err != nil {
			return nil, &packhorse.InvalidError{Field: "ca_file", Why: err.Error()}
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		options.TLS = &tls.Config{RootCAs: roots}
	}
	ctx := context.Background()
	if told.ConnectTimeoutMs > 0 {
		within, cancel := context.WithTimeout(ctx, time.Duration(told.ConnectTimeoutMs)*time.Millisecond)
		defer cancel()
		ctx = within
	}
	client, err := packhorse.Connect(ctx, told.URL, options)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.client = client
	d.mu.Unlock()
	return object{"client": client.ID(), "secret": client.Secret(), "resumed": client.Resumed()}, nil
}

// status writes events of the connection; the first connection is the answer to `connect`.
func (d *driver) status() func(packhorse.Status) {
	first := true
	return func(s packhorse.Status) {
		event := object{"event": s.Kind}
		switch s.Kind {
		case packhorse.StatusConnected:
			if first {
				first = false
				return
			}
			event["resumed"] = s.Resumed
		case packhorse.StatusClosed:
			if errors.Is(s.Err, packhorse.ErrClosed) {
				return
			}
			event["code"] = asError(s.Err)["code"]
		}
		d.write(event)
	}
}

func create(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var q packhorse.Create
	if err := json.Unmarshal(line, &q); err != nil {
		return nil, err
	}
	results, err := packhorse.Ask(ctx, client, &q)
	return object{"jobs": entries(results)}, err
}

// entries are results as the protocol has them: what was refused is a problem.
func entries[R any](results []packhorse.Result[R]) []any {
	all := make([]any, len(results))
	for i, result := range results {
		var refusal *packhorse.Refusal
		switch {
		case result.Err == nil:
			all[i] = result.Value
		case errors.As(result.Err, &refusal):
			problem := object{"code": refusal.Code, "message": refusal.Message, "retryable": refusal.Retryable}
			if refusal.Details != nil {
				problem["details"] = refusal.Details
			}
			if refusal.RetryAfter > 0 {
				problem["retry_after_ms"] = refusal.RetryAfter.Milliseconds()
			}
			all[i] = object{"problem": problem}
		default:
			all[i] = object{"problem": asError(result.Err)}
		}
	}
	return all
}

// whole is the error of a request whose items all failed by something else than a refusal.
func whole[R any](results []packhorse.Result[R], err error) error {
	for _, result := range results {
		var refusal *packhorse.Refusal
		if err == nil && result.Err != nil && !errors.As(result.Err, &refusal) {
			return result.Err
		}
	}
	return err
}

type jobLine struct{ Job string }

func wait(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told jobLine
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	return client.Wait(ctx, told.Job)
}

func get(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told packhorse.Get
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	results, err := client.Get(ctx, told.Jobs...)
	return object{"jobs": entries(results)}, whole(results, err)
}

func logs(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told jobLine
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	found := []packhorse.LogEntry{}
	for entry, err := range client.Logs(ctx, told.Job, 0) {
		if err != nil {
			return nil, err
		}
		found = append(found, entry)
	}
	return object{"entries": found}, nil
}

func cancel(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told struct {
		Job     string
		GraceMs *int64 `json:"grace_ms"`
		Why     string
	}
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	results, err := client.Cancel(ctx, packhorse.Cancel{Jobs: []string{told.Job}, GraceMs: told.GraceMs, Why: told.Why})
	if err != nil {
		return nil, err
	}
	return results[0].Value, results[0].Err
}

func (d *driver) watch(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told packhorse.Get
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	w, err := client.Watch(ctx, told.Jobs...)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			event, err := w.Next(ctx)
			if err != nil {
				return
			}
			d.write(object{"event": "news", "news": event})
		}
	}()
	return object{}, nil
}

func (d *driver) handleOutcomes(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told packhorse.HandlerOptions
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	told.Func = func(_ context.Context, o *packhorse.Outcome) error {
		d.write(object{"event": "outcome", "outcome": o})
		return nil
	}
	_, err := client.Handle(ctx, told)
	return object{}, err
}

// closeClient gives back what does not end soon.
func closeClient(ctx context.Context, client *packhorse.Client, _ []byte) (any, error) {
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = client.Close(soon)
	return object{}, nil
}
