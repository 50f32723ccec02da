package packhorse

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// Job is a claim that runs: what its creator sent, and how its function reports.
type Job struct {
	Claim
	client *Client
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   Ending // the claim was over before its function was; guarded by the claimBook
	ending bool   // the broker is being told how it ended; guarded so too
}

// Func runs a job: its result, or why the attempt failed. Its context ends when the job is to be
// cancelled or is not this client's any more: context.Cause tells, by a *CancelledError, a
// *RevokedError, a *Refusal of what it reported, ErrForgotten or ErrShutdown.
type Func func(ctx context.Context, job *Job) ([]byte, error)

// AttemptError is an error with a say in what follows a failed attempt.
type AttemptError struct {
	Err     error
	NoRetry bool           // no further attempt, though some remain
	RetryIn *time.Duration // the wait until the next one; nil: by the job's backoff
}

func (e *AttemptError) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *AttemptError) Unwrap() error { return e.Err }

// NoRetry makes an error the last one of its job: no further attempt follows.
func NoRetry(err error) error { return &AttemptError{Err: err, NoRetry: true} }

// RetryIn makes an error after which the next attempt waits for d.
func RetryIn(d time.Duration, err error) error { return &AttemptError{Err: err, RetryIn: &d} }

// Progress reports how far the job is, and what it does.
func (j *Job) Progress(ctx context.Context, percent int, text string) error {
	report := ProgressReport{Job: j.Job, Token: j.Token, Percent: int64(percent), Text: text}
	_, err := askOne(ctx, j.client, &reportProgressMessage{Reports: []ProgressReport{report}}, repeat)
	return j.heard(err)
}

// Log adds lines to the job's log.
func (j *Job) Log(ctx context.Context, messages ...string) error {
	report := LogReport{Job: j.Job, Token: j.Token, Messages: messages}
	_, err := askOne(ctx, j.client, &writeLogMessage{Reports: []LogReport{report}}, repeat)
	return j.heard(err)
}

// Extend lets the attempt run for d from now on, and tells what came of it; nil: without limit.
func (j *Job) Extend(ctx context.Context, d time.Duration) (*time.Duration, error) {
	extension := Extension{Job: j.Job, Token: j.Token, RunMs: d.Milliseconds()}
	extended, err := askOne(ctx, j.client, &extendMessage{Claims: []Extension{extension}}, repeat)
	if err != nil || extended.RemainingMs == nil {
		return nil, j.heard(err)
	}
	return Ptr(milliseconds(*extended.RemainingMs)), nil
}

// heard ends the job's context where the broker says that the claim is over.
func (j *Job) heard(err error) error {
	if IsCode(err, CodeStaleClaim) || IsCode(err, CodeNotFound) {
		j.cancel(err)
	}
	return err
}

// call runs a function; its panic is a failed attempt.
func (j *Job) call(f Func) (result []byte, err error) {
	defer func() {
		if said := recover(); said != nil {
			err = &Error{Type: "panic", Message: fmt.Sprint(said), Traceback: string(debug.Stack())}
		}
	}()
	return f(j.ctx, j)
}

func (j *Job) ref() ClaimRef { return ClaimRef{Job: j.Job, Token: j.Token} }

// end says how an attempt ended, and what became of saying so.
func (j *Job) end(result []byte, failed error) (Ending, error) {
	c, cause := j.client, context.Cause(j.ctx)
	var cancelled *CancelledError
	how, err := EndingFailed, error(nil)
	switch {
	case errors.Is(cause, ErrForgotten):
		return EndingRevoked, nil
	case IsCode(cause, CodeStaleClaim), IsCode(cause, CodeNotFound):
		return EndingStale, nil
	case failed == nil:
		how = EndingComplete
		completion := Completion{Job: j.Job, Token: j.Token, Result: result}
		_, err = askOne(c.ctx, c, &completeMessage{Jobs: []Completion{completion}}, persist)
		if invalid := (*InvalidError)(nil); IsCode(err, CodeTooLarge) || errors.As(err, &invalid) {
			return j.end(nil, NoRetry(err))
		}
	case errors.Is(cause, ErrShutdown):
		how = EndingReleased
		_, err = askOne(c.ctx, c, &releaseMessage{Claims: []ClaimRef{j.ref()}}, persist)
	default:
		if errors.As(cause, &cancelled) {
			how = EndingCancelled
		}
		_, err = askOne(c.ctx, c, &failMessage{Jobs: []Failure{j.failure(failed)}}, persist)
	}
	if err == nil || doneBefore(err) {
		return how, nil
	}
	return EndingStale, err
}

func (j *Job) failure(err error) Failure {
	said := &Error{}
	if !errors.As(err, &said) {
		said = &Error{Type: fmt.Sprintf("%T", innermost(err)), Message: err.Error()}
	}
	failure := Failure{Job: j.Job, Token: j.Token, Error: Error{
		Type: fit(said.Type, maxTextChars), Message: fit(said.Message, maxTextChars), Traceback: fit(said.Traceback, maxTracebackChars),
	}}
	var attempt *AttemptError
	if errors.As(err, &attempt) {
		failure.Retry = Ptr(!attempt.NoRetry)
		if attempt.RetryIn != nil {
			failure.RetryInMs = Ptr(max(0, attempt.RetryIn.Milliseconds()))
		}
	}
	return failure
}

// innermost is the error within an AttemptError, whose type says more.
func innermost(err error) error {
	var attempt *AttemptError
	if errors.As(err, &attempt) {
		return attempt.Err
	}
	return err
}

// fit makes a text one that may be sent.
func fit(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	runes := []rune(text)
	return string(runes[:min(len(runes), most)])
}
