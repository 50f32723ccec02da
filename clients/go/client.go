// Package packhorse is a client of the job broker Packhorse: it creates jobs, runs them, and learns
// how they ended.
//
// Connect makes a Client, whose methods may all be called concurrently. A Client outlives its
// connection: after a lost one it comes back as the same client, and repeats what was unanswered
// wherever that is safe. How long a request may take, its context says.
package packhorse

//go:generate go run ./internal/generate

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"time"
)

// Options say how a client connects, and as whom. The zero value is a good one.
type Options struct {
	Client        string        // the id to register or to resume; empty: the broker makes one
	Secret        []byte        // the session secret that belongs to Client; nil: the broker makes one
	Roles         []Role        // what the client will ask for; nil: all that the broker grants
	Timeout       time.Duration // the silence after which the broker is to forget the client; 0: it chooses
	TLS           *tls.Config   // of tls:// addresses; nil: the system's roots
	WaitForBroker bool          // Connect tries until its context ends, instead of each address once
	Stay          bool          // Close leaves without a bye, so that Client and Secret can come back
	Logger        *slog.Logger  // nil: slog.Default
	// OnStatus is told what becomes of the connection, in order; it must not block.
	OnStatus func(Status)
}

// Status is news of the connection.
type Status struct {
	Kind    StatusKind
	Resumed bool  // of StatusConnected: claims and handler entries were kept
	Err     error // of StatusDisconnected and StatusClosed
}

// StatusKind says what has happened to the connection.
type StatusKind string

// The kinds of Status.
const (
	StatusConnected    StatusKind = "connected"
	StatusDisconnected StatusKind = "disconnected" // the client connects again by itself
	StatusDraining     StatusKind = "draining"     // the broker goes away; the client will change over
	StatusClosed       StatusKind = "closed"       // for good: Err says why
)

// Client is one client of a broker. Close it.
type Client struct {
	options  Options
	session  *session
	requests *requests
	claims   *claimBook
	outcomes *outcomeBook
	watches  watchBook

	ctx    context.Context // until the client is closed
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // all goroutines but those of job functions

	mu      sync.Mutex
	welcome *welcomeMessage
	closed  bool
}

// Connect connects to the broker at url: tcp://host:port, tls://host:port or unix:///path; several
// with commas between them. An empty one is $PACKHORSE_URL, else tcp://127.0.0.1:7225. The context
// bounds Connect alone. Of options, nil is the zero value.
func Connect(ctx context.Context, url string, options *Options) (*Client, error) {
	addresses, err := parseAddresses(url)
	if err != nil {
		return nil, err
	}
	c := &Client{requests: newRequests()}
	if options != nil {
		c.options = *options
	}
	if c.options.Logger == nil {
		c.options.Logger = slog.Default()
	}
	if c.options.OnStatus == nil {
		c.options.OnStatus = func(Status) {}
	}
	c.claims, c.outcomes = newClaimBook(c), newOutcomeBook(c)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	hello := helloMessage{
		Versions: []int64{protocolVersion}, Client: c.options.Client, Secret: c.options.Secret, Roles: c.options.Roles, Library: version,
	}
	if c.options.Timeout > 0 {
		hello.TimeoutMs = Ptr(c.options.Timeout.Milliseconds())
	}
	c.session = &session{
		addresses: addresses, tls: c.options.TLS, hello: hello, requests: c.requests, parts: c,
		log: c.options.Logger, status: c.options.OnStatus,
	}
	link, err := c.session.reach(ctx, c.options.WaitForBroker)
	if err != nil {
		c.cancel(ErrClosed)
		return nil, err
	}
	c.spawn(func(ctx context.Context) {
		err := c.session.run(ctx, link)
		c.cancel(err)
		c.requests.end(err)
		c.options.OnStatus(Status{Kind: StatusClosed, Err: err})
	})
	return c, nil
}

// Close ends the client in good order: its jobs may end while ctx lasts, then their claims are given
// back; what was handled is made known, and the broker forgets the client unless Options.Stay says
// otherwise. The error is that of the runner's Shutdown.
func (c *Client) Close(ctx context.Context) error {
	var err error
	if runner := c.claims.current(); runner != nil {
		err = runner.Shutdown(ctx)
	}
	c.outcomes.stop()
	leaving, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	if c.requests.isOpen() && await(leaving, c, c.outcomes.owed.zero()) == nil && !c.options.Stay {
		_, _ = c.requests.ask(leaving, &byeMessage{}, once)
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel(ErrClosed)
	c.tasks.Wait()
	return err
}

// Done is closed when the client is over: closed, or refused by the broker for good. Err says why.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err is nil until Done is closed.
func (c *Client) Err() error { return context.Cause(c.ctx) }

// ID is the client's id; with Secret it outlives this process.
func (c *Client) ID() string { return c.greeting().Client }

// Secret is what resumes this client: keep it like a password.
func (c *Client) Secret() []byte { return c.greeting().Secret }

// Limits are what the broker accepts.
func (c *Client) Limits() Limits { return c.greeting().Limits }

// Resumed tells whether the client was still registered when it connected last.
func (c *Client) Resumed() bool { return c.greeting().Resumed }

func (c *Client) greeting() *welcomeMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome
}

// spawn runs a task of the client's own, which ends with the client; not of one that was closed.
func (c *Client) spawn(task func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Add(1)
	go func() {
		defer c.tasks.Done()
		task(c.ctx)
	}()
	return true
}

// began is told by the session that a connection begins; lost: the broker had forgotten this client.
func (c *Client) began(w *welcomeMessage, lost bool) {
	c.mu.Lock()
	c.welcome = w
	c.mu.Unlock()
	c.claims.began(lost)
	c.outcomes.began(lost)
	c.watches.began()
}

// pushed is told what the broker sent by itself.
func (c *Client) pushed(tag string, body []byte) error {
	var err error
	switch tag {
	case "claims":
		m := &claimsMessage{}
		if err = decode(body, m); err == nil {
			c.claims.claimed(m.Claims)
		}
	case "cancelling":
		m := &cancellingMessage{}
		if err = decode(body, m); err == nil {
			c.claims.cancelling(m.Claims)
		}
	case "revoke":
		m := &revokeMessage{}
		if err = decode(body, m); err == nil {
			c.claims.revoked(m.Claims)
		}
	case "outcomes":
		m := &outcomesMessage{}
		if err = decode(body, m); err == nil {
			c.outcomes.pushed(m.Outcomes)
		}
	case "events":
		m := &eventsMessage{}
		if err = decode(body, m); err == nil {
			c.watches.pushed(m.Events)
			c.outcomes.removed(m.Events)
		}
	}
	return err
}

// Ptr makes a pointer, for fields whose absence is not their zero value.
func Ptr[T any](v T) *T { return &v }
