package packhorse

import (
	"context"
	"time"
)

// policy is what becomes of a request whose connection is lost, or that is refused for now.
type policy int

const (
	repeat     policy = iota // it is safe to repeat; a refusal for now is waited out some times
	whileKnown               // the same, but not once the broker has forgotten this client
	once                     // it might be done twice: it fails
	persist                  // the broker is owed it: again until it is done
)

const maxTries = 8

// call is one item of a request, on its way with others or alone.
type call struct {
	ctx      context.Context
	lane     laneKey
	item     []byte
	elements int
	policy   policy
	tries    int
	lost     bool // it left, and may have been done or not
	alone    bool // its neighbours in a frame may have been what was refused
	// registration is the one of this client with which it left last.
	registration int
	done         chan answer
}

// refuse answers it. Behind what the broker could not do in good order it may have been done.
func (c *call) refuse(refusal *Refusal) {
	refusal.repeated = c.lost
	c.lost = c.lost || refusal.Code == CodeUnavailable || refusal.Code == CodeInternal
	c.done <- answer{err: refusal}
}

// answer is what became of a call: the raw entry, or why not.
type answer struct {
	entry  []byte
	notMet bool // of the durability that was asked for
	err    error
}

// laneKey is what requests have to have in common to leave in one frame.
type laneKey struct {
	tag, items, rest string
	fields           int
}

// split takes a request apart. What can't be sent is refused here, before it meets others.
func split(ctx context.Context, q wireRequest, p policy) ([]*call, error) {
	items, n := q.items()
	if n == 0 {
		return nil, &InvalidError{Field: items, Why: "nothing is in it"}
	}
	rest := &encoder{}
	q.encodeRest(rest)
	if rest.err != nil {
		return nil, rest.err
	}
	key := laneKey{tag: q.tag(), items: items, rest: string(rest.buf), fields: rest.entries}
	calls := make([]*call, n)
	for i := range calls {
		e := &encoder{field: items}
		q.encodeItem(e, i)
		if e.err != nil {
			return nil, e.err
		}
		calls[i] = &call{
			ctx: ctx, lane: key, item: e.buf, elements: e.elements + rest.elements + 8, policy: p, done: make(chan answer, 1),
			alone: items == "",
		}
	}
	return calls, nil
}

// again tells whether a refused call is to be made once more, and after how long.
func (c *call) again(err error) (time.Duration, bool) {
	refusal, ok := err.(*Refusal)
	if !ok || !refusal.Retryable || c.policy == once || refusal.Code == CodeQuota || refusal.Code == CodeStoreFull {
		return 0, false
	}
	c.tries++
	if c.tries > maxTries && c.policy != persist && refusal.Code != CodeDraining {
		return 0, false
	}
	return refusal.wait(c.tries - 1), true
}

// lane holds calls of one key that wait to be sent.
type lane struct {
	key       laneKey
	calls     []*call
	withdrawn int // of these, or of what left it, since it was last looked through
}

// take removes as many calls as one frame may hold. What can't leave any more is answered.
func (l *lane) take(limits *Limits, registration int) []*call {
	var taken []*call
	bytes, elements := int64(len(l.key.rest)+64), 0
	for len(l.calls) > 0 {
		c := l.calls[0]
		full := int64(len(taken)) >= max(limits.Batch, 1) || bytes+int64(len(c.item)) > limits.FrameBytes ||
			elements+c.elements > maxElements || len(taken) >= maxArrayItems
		if len(taken) > 0 && (full || c.alone) {
			break
		}
		l.calls = l.calls[1:]
		switch {
		case c.ctx.Err() != nil:
			c.done <- answer{err: context.Cause(c.ctx)}
			continue
		case c.policy == whileKnown && c.lost && c.registration != registration:
			c.done <- answer{err: ErrDisconnected}
			continue
		case full:
			c.done <- answer{err: &Refusal{Code: CodeTooLarge, Message: "it does not fit into a frame"}}
			continue
		}
		c.registration = registration
		taken = append(taken, c)
		bytes += int64(len(c.item))
		elements += c.elements
		if c.alone {
			break
		}
	}
	return taken
}

// encode makes the frame of a request for these calls.
func (l *lane) encode(id int64, calls []*call) []byte {
	e := &encoder{buf: make([]byte, headerBytes, 256)}
	fields := 2 + l.key.fields
	if l.key.items != "" {
		fields++
	}
	e.buf = append(e.buf, 0x80|byte(fields))
	e.str("t")
	e.str(l.key.tag)
	e.str("id")
	e.integer(id, 1, id)
	if l.key.items != "" {
		e.str(l.key.items)
		e.arrayHead(len(calls))
		for _, c := range calls {
			e.buf = append(e.buf, c.item...)
		}
	}
	e.buf = append(e.buf, l.key.rest...)
	return frame(e.buf)
}
