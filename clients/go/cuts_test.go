package packhorse

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// cutter passes bytes on to a broker, and cuts each connection after some of them.
func cutter(t *testing.T, url string, cuts *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			broker, err := net.Dial("tcp", strings.TrimPrefix(url, "tcp://"))
			if err != nil {
				client.Close()
				continue
			}
			for from, to := range map[net.Conn]net.Conn{client: broker, broker: client} {
				go func() {
					defer cuts.Add(1)
					_, _ = io.CopyN(to, from, 10_000+rand.Int64N(30_000))
					client.Close()
					broker.Close()
				}()
			}
		}
	}()
	return "tcp://" + l.Addr().String()
}

func TestCutConnectionsLoseNothing(t *testing.T) {
	b := broker(t)
	var cuts atomic.Int64
	url := cutter(t, b.url, &cuts)
	worker, producer := connected(t, url, nil), connected(t, url, nil)
	running(t, worker, echo)
	var all sync.WaitGroup
	for range 10 {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range 30 {
				payload := fmt.Sprint(i)
				result, err := producer.Call(soon(t), NewJob{Type: typeName(t), Payload: []byte(payload)})
				if err != nil || string(result) != payload {
					t.Errorf("%d: %q, %v", i, result, err)
				}
			}
		}()
	}
	all.Wait()
	if cuts.Load() == 0 {
		t.Error("no connection was cut")
	}
}
