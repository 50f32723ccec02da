package packhorse

import "math"

type encodable interface{ encode(*encoder) }

type decodable interface{ decode(*decoder) }

// wireRequest is a request in parts: its items leave together with those of other callers.
type wireRequest interface {
	tag() string
	items() (key string, n int)
	encodeRest(*encoder)
	encodeItem(*encoder, int)
}

// envelope is a message's tag, and its id where it is one that answers a request.
type envelope struct {
	tag string
	id  int64
}

// open reads a message's envelope, and everything else as far as the protocol refuses it anywhere. Of
// what can't be read it tells as much as could be.
func open(body []byte) (envelope, error) {
	d := &decoder{buf: body}
	var m envelope
	for n := d.mapping(0, maxMapItems); n > 0 && d.err == nil; n-- {
		switch key := string(d.key()); {
		case key == "t":
			m.tag = d.text(maxTextBytes)
		case key == "id" && d.at < len(body) && (body[d.at] < 0x80 || body[d.at] >= 0xcc && body[d.at] <= 0xcf):
			m.id = d.integer(0, math.MaxInt64)
		default:
			d.skip()
		}
	}
	if d.err == nil && d.at < len(body) {
		d.refuse("something stands behind the message")
	}
	if d.err == nil && m.tag == "" {
		d.field = []byte("t")
		d.refuse("missing")
	}
	return m, d.err
}

// okMessage answers a request; what its entries are depends on the request.
type okMessage struct {
	ID         int64
	Results    [][]byte
	Durability string
}

func (m *okMessage) decode(d *decoder) {
	for n := d.mapping(0, maxMapItems); n > 0 && d.err == nil; n-- {
		switch string(d.key()) {
		case "id":
			m.ID = d.integer(1, math.MaxInt64)
		case "results":
			m.Results = d.rawItems()
		case "durability":
			if !d.null() {
				m.Durability = decodeChoice(d, "not_met")
			}
		default:
			d.skip()
		}
	}
	if m.ID == 0 || m.Results == nil {
		d.refuse("id or results are missing")
	}
}

// rawItems reads an array without looking into its items.
func (d *decoder) rawItems() [][]byte {
	n := d.array(1, maxArrayItems)
	items := make([][]byte, 0, min(n, 1024))
	for ; n > 0 && d.err == nil; n-- {
		from := d.at
		d.skip()
		items = append(items, d.buf[from:d.at])
	}
	return items
}

// decode reads a whole value.
func decode(body []byte, into decodable) error {
	d := &decoder{buf: body}
	into.decode(d)
	return d.err
}

// problemIn tells why an item was refused, if it was.
func problemIn(entry []byte) (*Problem, error) {
	d := &decoder{buf: entry}
	for n := d.mapping(0, maxMapItems); n > 0 && d.err == nil; n-- {
		if string(d.key()) == "problem" {
			problem := decodeRecord[Problem](d)
			return &problem, d.err
		}
		d.skip()
	}
	return nil, d.err
}

// encodeMessage makes the frame of a message that is no request.
func encodeMessage(tag string, m encodable) ([]byte, error) {
	e := &encoder{buf: make([]byte, headerBytes, 256)}
	inner := &encoder{}
	m.encode(inner)
	if inner.err != nil {
		return nil, inner.err
	}
	// The tag joins the map as its first entry; a hello has few enough that 1 byte counts them.
	e.buf = append(e.buf, inner.buf[0]+1)
	e.str("t")
	e.str(tag)
	e.buf = append(e.buf, inner.buf[1:]...)
	return frame(e.buf), nil
}
