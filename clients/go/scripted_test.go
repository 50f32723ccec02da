package packhorse

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"sort"
	"testing"
	"time"
)

// script is a broker whose every word a test says.
type script struct {
	t        *testing.T
	listener net.Listener
	url      string
}

// values are a message's fields.
type values map[string]any

func newScript(t *testing.T) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return scriptOn(t, l, "tcp://"+l.Addr().String())
}

func scriptOn(t *testing.T, l net.Listener, url string) *script {
	t.Cleanup(func() { l.Close() })
	return &script{t, l, url}
}

// peer is one connection of a client.
type peer struct {
	t *testing.T
	net.Conn
	reader *bufio.Reader
}

func (s *script) accept() *peer {
	s.t.Helper()
	conn, err := s.listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	return &peer{s.t, conn, bufio.NewReader(conn)}
}

// welcome accepts a connection and its hello, and welcomes it.
func (s *script) welcome(changes values) *peer {
	s.t.Helper()
	p := s.accept()
	p.expect("hello")
	p.send(welcomeWith(changes))
	return p
}

func welcomeWith(changes values) values {
	w := values{
		"t": "welcome", "version": 1, "client": "c1", "secret": []byte("0123456789abcdef"), "resumed": false,
		"roles": []any{"create", "run", "handle", "read", "admin"}, "heartbeat_ms": 10000, "timeout_ms": 30000,
		"limits": values{
			"frame_bytes": 8388608, "payload_bytes": 1048576, "result_bytes": 1048576, "log_message_bytes": 8192,
			"batch": 1000, "in_flight": 256,
		},
		"features": []any{}, "broker": "b1", "store": "s1", "now_ms": 1, "registered_at": 1,
	}
	for key, value := range changes {
		w[key] = value
	}
	return w
}

// next reads a message that is no beat.
func (p *peer) next() values {
	p.t.Helper()
	for {
		body, err := readFrame(p.reader, maxFrameBytes)
		if err != nil {
			p.t.Fatalf("waited for a message: %v", err)
		}
		if m := value(&decoder{buf: body}).(values); m["t"] != "beat" {
			return m
		}
	}
}

// expect reads the next message, which has to have this tag.
func (p *peer) expect(tag string) values {
	p.t.Helper()
	m := p.next()
	if m["t"] != tag {
		p.t.Fatalf("waited for %s, %v came", tag, m)
	}
	return m
}

// gone waits for the client to close.
func (p *peer) gone() {
	p.t.Helper()
	if _, err := io.Copy(io.Discard, p.reader); err != nil {
		p.t.Log(err)
	}
}

func (p *peer) send(m values) {
	p.t.Helper()
	if _, err := p.Write(frameOf(m)); err != nil {
		p.t.Fatal(err)
	}
}

func frameOf(m values) []byte {
	e := &encoder{buf: make([]byte, headerBytes)}
	put(e, m)
	return frame(e.buf)
}

func (p *peer) ok(request values, results ...any) {
	p.t.Helper()
	p.send(values{"t": "ok", "id": request["id"], "results": results})
}

func put(e *encoder, v any) {
	switch v := v.(type) {
	case nil:
		e.buf = append(e.buf, 0xc0)
	case bool:
		e.boolean(v)
	case int:
		e.integer(int64(v), math.MinInt64, math.MaxInt64)
	case int64:
		e.integer(v, math.MinInt64, math.MaxInt64)
	case string:
		e.str(v)
	case []byte:
		e.binary(v, 0, math.MaxInt)
	case []any:
		e.arrayHead(len(v))
		for _, item := range v {
			put(e, item)
		}
	case values:
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		e.mapping(len(keys), 0, maxMapItems)
		for _, key := range keys {
			e.str(key)
			put(e, v[key])
		}
	default:
		panic(fmt.Sprintf("%T", v))
	}
}

func value(d *decoder) any {
	switch c := d.buf[d.at]; {
	case c == 0xc0:
		d.null()
		return nil
	case c == 0xc2 || c == 0xc3:
		return d.boolean()
	case c < 0x80 || c >= 0xe0 || c >= 0xcc && c <= 0xd3:
		return d.integer(math.MinInt64, math.MaxInt64)
	case c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb:
		return d.text(maxTextBytes)
	case c >= 0xc4 && c <= 0xc6:
		return d.binary(0, math.MaxInt)
	case c&0xf0 == 0x90 || c == 0xdc || c == 0xdd:
		return any(decodeArray(d, 0, maxArrayItems, value))
	}
	return values(decodeMap(d, 0, maxMapItems, func(d *decoder) string { return d.text(maxTextBytes) }, value))
}
