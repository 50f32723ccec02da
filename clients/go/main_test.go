package packhorse

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// realBroker starts the broker once for all tests, and tells where it listens.
var realBroker = sync.OnceValues(func() (*runningBroker, error) {
	folder, err := os.MkdirTemp("", "packhorse-go-")
	if err != nil {
		return nil, err
	}
	b := &runningBroker{folder: folder, socket: filepath.Join(folder, "broker.sock")}
	program := os.Getenv("PACKHORSE_BIN")
	if program == "" {
		program = "../../.venv/bin/packhorse"
	}
	// The shell stops the broker when its input ends: also where the tests were killed.
	b.command = exec.Command("sh", "-c", `unset PACKHORSE_BIN; "$0" "$@" & cat; kill $!; wait`, program, "serve",
		"--listen", "tcp://127.0.0.1:0,unix://"+b.socket, "--data-dir", filepath.Join(folder, "data"), "--log-level", "error")
	b.command.Stderr = os.Stderr
	if b.input, err = b.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := b.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.command.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		for _, word := range strings.Fields(strings.ReplaceAll(lines.Text(), ",", " ")) {
			if strings.HasPrefix(word, "tcp://") {
				b.url = word
			}
		}
		if strings.HasPrefix(lines.Text(), "ready") {
			go func() {
				for lines.Scan() {
				}
			}()
			return b, nil
		}
	}
	return nil, errors.New("the broker did not start")
})

type runningBroker struct {
	command     *exec.Cmd
	input       io.Closer
	folder      string
	url, socket string
}

// brokerUsed tells whether a test needed the broker, so that there is one to stop.
var brokerUsed bool

func TestMain(m *testing.M) {
	longestWait = firstWait
	code := m.Run()
	if brokerUsed {
		if b, err := realBroker(); err == nil {
			_ = b.input.Close()
			_ = b.command.Wait()
			_ = os.RemoveAll(b.folder)
		}
	}
	os.Exit(code)
}

func broker(t *testing.T) *runningBroker {
	t.Helper()
	brokerUsed = true
	b, err := realBroker()
	if err != nil {
		t.Fatalf("no broker: %v (make venv, or name one by PACKHORSE_BIN)", err)
	}
	return b
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func connected(t *testing.T, url string, options *Options) *Client {
	t.Helper()
	c, err := Connect(soon(t), url, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(soon(t)) })
	return c
}

// typeName is a type that no other test uses.
func typeName(t *testing.T) string { return "go " + strings.ReplaceAll(t.Name(), "/", " ") }

func running(t *testing.T, c *Client, f Func) *Runner {
	t.Helper()
	r, err := c.Run(soon(t), RunnerOptions{Types: map[string]Work{typeName(t): {Func: f}}, Credit: 10})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func echo(_ context.Context, job *Job) ([]byte, error) { return job.Payload, nil }
