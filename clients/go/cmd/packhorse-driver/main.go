// Command packhorse-driver does what it is told on standard input with the client library: for the
// conformance kit, and for tests between languages.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"

	packhorse "github.com/packhorse/packhorse/clients/go"
)

// driver holds the one client that is driven.
type driver struct {
	out     sync.Mutex
	written *json.Encoder
	running sync.WaitGroup

	mu     sync.Mutex
	client *packhorse.Client
	runner *packhorse.Runner
}

// instruction is one line of the input; its other fields depend on what is to be done.
type instruction struct {
	ID int64
	Do string
}

type object = map[string]any

// unsupported answers what this driver can't be told.
var unsupported = errors.New("this driver does not know it")

func main() {
	d := &driver{written: json.NewEncoder(os.Stdout)}
	d.written.SetEscapeHTML(false)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<28)
	for lines.Scan() {
		line := append([]byte{}, lines.Bytes()...)
		var told instruction
		if err := json.Unmarshal(line, &told); err != nil {
			d.write(object{"id": told.ID, "error": asError(err)})
			continue
		}
		d.running.Add(1)
		go func() {
			defer d.running.Done()
			ok, err := d.do(told.Do, line)
			if err != nil {
				d.write(object{"id": told.ID, "error": asError(err)})
			} else {
				d.write(object{"id": told.ID, "ok": ok})
			}
		}()
	}
	d.end()
}

// write writes a line; json.Encoder flushes each.
func (d *driver) write(line object) {
	d.out.Lock()
	defer d.out.Unlock()
	_ = d.written.Encode(line)
}

func asError(err error) object {
	var refusal *packhorse.Refusal
	told := object{"code": "invalid", "message": err.Error(), "retryable": false}
	switch {
	case errors.As(err, &refusal):
		told["code"], told["message"], told["retryable"] = refusal.Code, refusal.Message, refusal.Retryable
	case errors.Is(err, packhorse.ErrClosed):
		told["code"] = "closed"
	case errors.Is(err, unsupported):
		told["code"] = "unsupported"
	case isInvalid(err):
	default:
		told["code"] = "disconnected"
	}
	return told
}

func isInvalid(err error) bool {
	var refused *packhorse.InvalidError
	var broken *packhorse.ProtocolError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &refused) || errors.As(err, &broken) || errors.As(err, &syntax) || errors.As(err, &kind)
}

// end closes the client in good order, at the end of the input.
func (d *driver) end() {
	d.mu.Lock()
	client := d.client
	d.mu.Unlock()
	if client != nil {
		_, _ = closeClient(context.Background(), client, nil)
	}
	d.running.Wait()
}
