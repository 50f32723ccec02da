package packhorse

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrClosed means that the client was closed.
	ErrClosed = errors.New("packhorse: the client is closed")
	// ErrDisconnected means that the connection was lost, and that a request which can't be
	// repeated safely may have been done or not.
	ErrDisconnected = errors.New("packhorse: the connection was lost, the request may have been done")
	// ErrShutdown is the cause of a job's cancelled context when its runner shuts down.
	ErrShutdown = errors.New("packhorse: the runner shuts down")
	// ErrForgotten is the cause of a job's cancelled context when the broker had removed this client.
	ErrForgotten = errors.New("packhorse: the broker had forgotten this client, its claims are gone")
)

// Refusal is the broker's word that a request or an item was refused, or a connection ended.
type Refusal struct {
	Code       Code
	Message    string
	Retryable  bool          // the same may succeed later, unchanged
	RetryAfter time.Duration // not before this time has passed
	Details    map[string]string
	repeated   bool // an earlier try may have been done, its answer lost with a connection
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("packhorse: %s: %s", r.Code, r.Message)
}

// wait is how long to wait after so many tries that were refused before this one.
func (r *Refusal) wait(tries int) time.Duration { return max(r.RetryAfter, backoff(tries)) }

// IsCode tells whether err is a Refusal with this code.
func IsCode(err error, code Code) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && refusal.Code == code
}

// doneBefore tells whether err means that the end of a claim was recorded at an earlier try, and the
// job has gone since.
func doneBefore(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && refusal.Code == CodeNotFound && refusal.repeated
}

func (p *Problem) refusal() *Refusal {
	r := &Refusal{Code: Code(p.Code), Message: p.Message, Retryable: p.Retryable, Details: p.Details}
	if p.RetryAfterMs != nil {
		r.RetryAfter = milliseconds(*p.RetryAfterMs)
	}
	return r
}

func (m *refusedMessage) refusal() *Refusal {
	return (&Problem{
		Code: m.Code, Message: m.Message, Retryable: m.Retryable, RetryAfterMs: m.RetryAfterMs, Details: m.Details,
	}).refusal()
}

// InvalidError means that an argument can't be sent: nothing was asked of the broker.
type InvalidError struct {
	Field string // as the protocol names it
	Why   string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("packhorse: %s: %s", e.Field, e.Why)
}

// ProtocolError means that the broker spoke against the protocol.
type ProtocolError struct {
	Code  Code // of a frame that can't be cut
	Field string
	Why   string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("packhorse: the broker's message can't be read: %s %s", e.Field, e.Why)
}

// Error makes what a runner said of a failed attempt an error; a job function may return one.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", e.Type, e.Message)
}

// FailedError tells that a job is FAILED, and why.
type FailedError struct {
	Outcome *Outcome
}

func (e *FailedError) Error() string {
	if e.Outcome.Error != nil {
		return fmt.Sprintf("packhorse: job %s: %s: %v", e.Outcome.Job, e.Outcome.Reason, e.Outcome.Error)
	}
	return fmt.Sprintf("packhorse: job %s: %s", e.Outcome.Job, e.Outcome.Reason)
}

// Unwrap gives what the runner said, if it said something.
func (e *FailedError) Unwrap() error {
	if e.Outcome.Error == nil {
		return nil
	}
	return e.Outcome.Error
}

// Err is nil of a COMPLETE job, else a *FailedError.
func (o *Outcome) Err() error {
	if o.State == StateComplete {
		return nil
	}
	return &FailedError{Outcome: o}
}

// CancelledError is the cause of a job's cancelled context when somebody asked for its cancellation.
type CancelledError struct {
	Grace time.Duration // until the claim is taken away, when this was told
	Why   string
}

func (e *CancelledError) Error() string {
	return "packhorse: the job is to be cancelled: " + e.Why
}

// RevokedError is the cause of a job's cancelled context when its claim is over.
type RevokedError struct {
	Reason RevocationReason
}

func (e *RevokedError) Error() string {
	return fmt.Sprintf("packhorse: the claim is over: %s", e.Reason)
}

func milliseconds(ms int64) time.Duration {
	return time.Duration(min(ms, maxDurationMs)) * time.Millisecond
}
