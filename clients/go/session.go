package packhorse

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

const (
	attemptTimeout = 5 * time.Second  // of one address, to connect and welcome
	steady         = 10 * time.Second // a connection that lived so long was a good one
	version        = "packhorse-go 0.1.0"
)

// session keeps a client connected: one connection after another, the same client.
type session struct {
	addresses []address
	tls       *tls.Config
	hello     helloMessage
	welcome   *welcomeMessage
	requests  *requests
	parts     parts
	log       *slog.Logger
	status    func(Status)
	next      int // which address
	tries     int
}

// parts is what a session tells the client: began before anything of a connection is pushed.
type parts interface {
	began(w *welcomeMessage, lost bool)
	pushed(tag string, body []byte) error
}

// run connects again until the session is over, and tells why it is.
func (s *session) run(ctx context.Context, link *link) error {
	for {
		began := time.Now()
		err := s.serve(ctx, link)
		s.requests.disconnected()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.log.Warn("packhorse: the connection was lost", "error", err)
		s.status(Status{Kind: StatusDisconnected, Err: err})
		var refusal *Refusal
		said := errors.As(err, &refusal)
		if said && !refusal.Retryable && refusal.Code != CodeClientGone {
			return err // the next connection would only repeat it
		}
		if time.Since(began) >= steady && !said {
			s.tries = 0
		} else {
			s.tries++
		}
		if link, err = s.reach(ctx, true); err != nil {
			return err
		}
	}
}

// reach connects to one of the addresses, in rounds.
func (s *session) reach(ctx context.Context, patient bool) (*link, error) {
	for {
		if s.tries > 0 {
			if err := sleep(ctx, backoff(s.tries-1)); err != nil {
				return nil, err
			}
		}
		var failures []error
		for range s.addresses {
			a := s.addresses[s.next%len(s.addresses)]
			l, err := s.attempt(ctx, a)
			if err == nil {
				s.begin(l.welcome)
				return l, nil
			}
			var refusal *Refusal
			var broken *ProtocolError
			switch {
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case errors.As(err, &refusal) && !refusal.Retryable, errors.As(err, &broken):
				return nil, err // another try would end likewise
			}
			failures = append(failures, fmt.Errorf("packhorse: %s: %w", a.at, err))
			s.next++
		}
		s.tries++
		failed := errors.Join(failures...)
		if !patient {
			return nil, failed
		}
		s.log.Warn("packhorse: no broker answers", "error", failed)
	}
}

// link is a connection that was welcomed.
type link struct {
	net.Conn
	reader  *bufio.Reader
	welcome *welcomeMessage
	timeout time.Duration
	// draining: the broker goes away, and nothing more is asked of it.
	draining bool
}

// Read bounds the silence of the broker.
func (l *link) Read(p []byte) (int, error) {
	if l.timeout > 0 {
		if err := l.SetReadDeadline(time.Now().Add(l.timeout)); err != nil {
			return 0, err
		}
	}
	return l.Conn.Read(p)
}

func (s *session) attempt(ctx context.Context, a address) (_ *link, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	conn, err := a.dial(ctx, s.tls)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if !stop() {
			err = context.Cause(ctx)
		}
		if err != nil {
			conn.Close()
		}
	}()
	hello, err := encodeMessage("hello", &s.hello)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(hello); err != nil {
		return nil, err
	}
	l := &link{Conn: conn}
	l.reader = bufio.NewReaderSize(l, 1<<16)
	if l.welcome, err = readWelcome(l.reader); err != nil {
		return nil, err
	}
	l.timeout = milliseconds(l.welcome.TimeoutMs)
	return l, nil
}

func readWelcome(r *bufio.Reader) (*welcomeMessage, error) {
	body, err := readFrame(r, handshakeFrameBytes)
	if err != nil {
		return nil, err
	}
	m, err := open(body)
	if err != nil {
		return nil, err
	}
	switch m.tag {
	case "error":
		refused := &refusedMessage{}
		if err := decode(body, refused); err != nil {
			return nil, err
		}
		return nil, refused.refusal()
	case "welcome":
		w := &welcomeMessage{}
		if err := decode(body, w); err != nil {
			return nil, err
		}
		return w, w.check()
	}
	return nil, &ProtocolError{Field: "t", Why: "is no welcome"}
}

// check refuses a broker that this client can't speak with, now or later.
func (w *welcomeMessage) check() error {
	l := w.Limits
	if w.Version != protocolVersion {
		return &Refusal{Code: CodeVersionUnsupported, Message: fmt.Sprintf("the broker speaks version %d", w.Version)}
	}
	if w.HeartbeatMs < 1 || w.TimeoutMs < w.HeartbeatMs {
		return &ProtocolError{Field: "heartbeat_ms", Why: "out of bounds"}
	}
	if l.FrameBytes > maxFrameBytes || l.PayloadBytes > maxFrameBytes || l.ResultBytes > maxFrameBytes ||
		l.FrameBytes < l.PayloadBytes+l.ResultBytes+524288 {
		return &ProtocolError{Field: "limits.frame_bytes", Why: "out of bounds"}
	}
	return nil
}

func (s *session) begin(w *welcomeMessage) {
	// The welcome of a new registration may have been lost with its connection.
	anew := s.welcome != nil && s.welcome.RegisteredAt != w.RegisteredAt
	lost := anew || s.hello.Secret != nil && !w.Resumed
	s.hello.Client, s.hello.Secret, s.welcome = w.Client, w.Secret, w
	if lost {
		s.requests.forgotten()
	}
	s.requests.connected(w.Limits)
	s.parts.began(w, lost)
	s.status(Status{Kind: StatusConnected, Resumed: w.Resumed})
}

// serve reads until the connection ends, and tells why it did.
func (s *session) serve(ctx context.Context, l *link) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	done, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		s.write(l, milliseconds(s.welcome.HeartbeatMs), done)
		l.Close()
	}()
	defer func() {
		stop()
		l.Close()
		close(done)
		<-written
	}()
	for {
		body, err := readFrame(l.reader, s.welcome.Limits.FrameBytes)
		if err != nil {
			return err
		}
		m, err := open(body)
		if err == nil {
			err = s.received(l, m, body)
		}
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			return err
		case err != nil:
			if m.tag == "ok" || m.tag == "error" {
				s.requests.unreadable(m.id, err)
			}
			s.log.Error("packhorse: ignored what the broker sent", "tag", m.tag, "error", err)
		}
		if l.draining && s.requests.unanswered() == 0 {
			return errors.New("packhorse: the broker is going away")
		}
	}
}

// leave asks nothing more of a broker that goes away; with its last answer the next one is tried.
func (s *session) leave(l *link, grace time.Duration) {
	if !l.draining {
		l.draining = true
		s.next++
		s.requests.pause()
		s.status(Status{Kind: StatusDraining})
		time.AfterFunc(grace, func() { l.Close() })
	}
}

// received deals with one message; a *Refusal ends the connection.
func (s *session) received(l *link, m envelope, body []byte) error {
	switch m.tag {
	case "ok":
		ok := &okMessage{}
		if err := decode(body, ok); err != nil {
			return err
		}
		return s.requests.answered(ok)
	case "error":
		refused := &refusedMessage{}
		if err := decode(body, refused); err != nil {
			return err
		}
		switch {
		case refused.Closing:
			return refused.refusal()
		case refused.ID != 0:
			return s.requests.refused(refused.ID, refused.refusal())
		}
		s.log.Error("packhorse: the broker could not read a request", "error", refused.refusal())
	case "beat":
	case "welcome":
		return &ProtocolError{Field: "t", Why: "is a second welcome"}
	case "drain":
		drain := &drainMessage{}
		if err := decode(body, drain); err != nil {
			return err
		}
		s.leave(l, milliseconds(drain.GraceMs))
	default:
		return s.parts.pushed(m.tag, body)
	}
	return nil
}
