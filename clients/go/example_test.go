package packhorse_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	packhorse "github.com/packhorse/packhorse/clients/go"
)

// A producer creates a job, waits for it, and learns why it failed, if it did.
func Example_producer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := packhorse.Connect(ctx, "tcp://127.0.0.1:7225", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	result, err := client.Call(ctx, packhorse.NewJob{Type: "thumb", Payload: []byte("cat.png"), Attempts: 3})
	var failed *packhorse.FailedError
	switch {
	case errors.As(err, &failed):
		fmt.Println("it failed:", failed.Outcome.Reason, failed.Outcome.Error)
	case packhorse.IsCode(err, packhorse.CodeQuota):
		fmt.Println("later")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Printf("%s\n", result)
	}
}

// A worker runs jobs of two types until SIGTERM, then lets those that run end.
func Example_worker() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := packhorse.Connect(ctx, "", &packhorse.Options{WaitForBroker: true})
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Run(ctx, packhorse.RunnerOptions{
		Credit: 20,
		Types: map[string]packhorse.Work{
			"thumb": {Func: func(ctx context.Context, job *packhorse.Job) ([]byte, error) {
				if err := job.Progress(ctx, 50, "half of it"); err != nil {
					return nil, err
				}
				return job.Payload, ctx.Err()
			}},
			"mail": {Most: 2, Func: func(context.Context, *packhorse.Job) ([]byte, error) {
				return nil, packhorse.RetryIn(time.Minute, errors.New("the server is busy"))
			}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-client.Done(): // superseded by another program with its id, say
	}
	grace, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := client.Close(grace); err != nil {
		log.Print("some jobs were given back: ", err)
	}
}

// A member of a group deals with the outcomes of jobs that others created for the group.
func Example_group() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client, err := packhorse.Connect(ctx, "unix:///run/packhorse.sock", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	_, err = client.Handle(ctx, packhorse.HandlerOptions{
		Groups: []string{"billing"},
		Func: func(_ context.Context, outcome *packhorse.Outcome) error {
			fmt.Println(outcome.Job, outcome.State)
			return nil // now the broker is told
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
}

// Whatever has no method of its own is asked with a request of the protocol.
func ExampleAsk() {
	ctx := context.Background()
	client, err := packhorse.Connect(ctx, "", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	results, err := packhorse.Ask(ctx, client, &packhorse.Configure{
		Types: []packhorse.TypeChange{{Type: "mail", Paused: packhorse.Ptr(true)}}, Why: "the server is down",
	})
	if err != nil || results[0].Err != nil {
		log.Fatal(err, results)
	}
}
