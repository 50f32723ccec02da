package main

import (
	"context"
	"encoding/json"

	packhorse "github.com/packhorse/packhorse/clients/go"
)

// sending sends a request that is written as on the wire, but for its id.
type sending func(ctx context.Context, client *packhorse.Client, message json.RawMessage) (any, error)

// requests are those that the library lets a program send, by tag.
var requests = map[string]sending{
	"create": as[packhorse.Create, packhorse.Created](), "get": as[packhorse.Get, packhorse.JobView](),
	"handle": as[packhorse.Handle, packhorse.Ended](), "handled": as[packhorse.Handled, packhorse.Done](),
	"cancel": as[packhorse.Cancel, packhorse.Ended](), "retry": as[packhorse.Retry, packhorse.Ended](),
	"run_now": as[packhorse.RunNow, packhorse.Ended](), "remove": as[packhorse.Remove, packhorse.Done](),
	"list": as[packhorse.ListJobs, packhorse.JobPage](), "attempts": as[packhorse.ListAttempts, packhorse.AttemptList](),
	"why": as[packhorse.AskWhy, packhorse.Why](), "types": as[packhorse.ListTypes, packhorse.TypeList](),
	"configure": as[packhorse.Configure, packhorse.Done](), "publish": as[packhorse.Publish, packhorse.Done](),
	"schema": as[packhorse.GetSchema, packhorse.SchemaView](), "minutes": as[packhorse.CountMinutes, packhorse.MinuteList](),
	"actions": as[packhorse.ListActions, packhorse.ActionList](), "logs": as[packhorse.ReadLog, packhorse.LogPage](),
	"counts": as[packhorse.CountJobs, packhorse.Counts](), "info": as[packhorse.Info, packhorse.BrokerInfo](),
}

func as[Q, R any, P interface {
	*Q
	packhorse.Request[R]
}]() sending {
	return func(ctx context.Context, client *packhorse.Client, message json.RawMessage) (any, error) {
		q := P(new(Q))
		if err := json.Unmarshal(message, q); err != nil {
			return nil, err
		}
		results, err := packhorse.Ask[R](ctx, client, q)
		return object{"results": entries(results)}, whole(results, err)
	}
}

func request(ctx context.Context, client *packhorse.Client, line []byte) (any, error) {
	var told struct{ Message json.RawMessage }
	if err := json.Unmarshal(line, &told); err != nil {
		return nil, err
	}
	var tag struct{ T string }
	if err := json.Unmarshal(told.Message, &tag); err != nil {
		return nil, err
	}
	send := requests[tag.T]
	if send == nil {
		return nil, unsupported
	}
	return send(ctx, client, told.Message)
}
