package packhorse

import (
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"
)

const (
	maxDepth     = 32     // containers within containers; the protocol asks for 16
	maxTextBytes = 131072 // of any text
)

// decoder reads msgpack values of the protocol's subset. The first mistake stays in err; from then
// on everything reads as nothing.
type decoder struct {
	buf      []byte
	at       int
	elements int
	field    []byte // the newest key
	err      error
}

func (d *decoder) refuse(why string) {
	if d.err == nil {
		d.err = &ProtocolError{Field: string(d.field), Why: why}
		d.at = len(d.buf)
	}
}

// take returns the next n bytes, without a copy.
func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.buf)-d.at {
		d.refuse("it ends too early")
		return nil
	}
	d.at += n
	return d.buf[d.at-n : d.at]
}

// number reads an unsigned big-endian number of 1, 2, 4 or 8 bytes.
func (d *decoder) number(size int) uint64 {
	b := d.take(size)
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) integer(least, most int64) int64 {
	c := byte(d.number(1))
	v := int64(0)
	switch {
	case c < 0x80 || c >= 0xe0:
		v = int64(int8(c))
	case c >= 0xcc && c <= 0xcf:
		unsigned := d.number(1 << (c - 0xcc))
		if unsigned > math.MaxInt64 {
			d.refuse("out of bounds")
		}
		v = int64(unsigned)
	case c == 0xd0:
		v = int64(int8(d.number(1)))
	case c == 0xd1:
		v = int64(int16(d.number(2)))
	case c == 0xd2:
		v = int64(int32(d.number(4)))
	case c == 0xd3:
		v = int64(d.number(8))
	default:
		d.refuse("no integer")
	}
	if v < least || v > most {
		d.refuse("out of bounds")
	}
	return v
}

func (d *decoder) boolean() bool {
	c := d.number(1)
	if c != 0xc2 && c != 0xc3 {
		d.refuse("no boolean")
	}
	return c == 0xc3
}

// null reads nil, if that is what comes.
func (d *decoder) null() bool {
	if d.at < len(d.buf) && d.buf[d.at] == 0xc0 {
		d.at++
		return true
	}
	return false
}

func (d *decoder) str() []byte {
	n := 0
	switch c := byte(d.number(1)); {
	case c&0xe0 == 0xa0:
		n = int(c & 0x1f)
	case c >= 0xd9 && c <= 0xdb:
		n = int(d.number(1 << (c - 0xd9)))
	default:
		d.refuse("no text")
	}
	text := d.take(n)
	if n > maxTextBytes || !utf8.Valid(text) {
		d.refuse("too long, or no UTF-8")
	}
	return text
}

// key reads a map's key; its bytes are not to be kept.
func (d *decoder) key() []byte {
	key := d.str()
	if d.err == nil {
		d.field = key
	}
	return key
}

func (d *decoder) text(most int) string {
	text := d.str()
	if len(text) > most && utf8.RuneCount(text) > most {
		d.refuse("too long")
	}
	return string(text)
}

func (d *decoder) name(most int) string {
	name := d.text(most)
	if !isName(name) {
		d.refuse("no name")
	}
	return name
}

func (d *decoder) binary(least, most int) []byte {
	c := byte(d.number(1))
	if c < 0xc4 || c > 0xc6 {
		d.refuse("no binary")
		return nil
	}
	n := int(d.number(1 << (c - 0xc4)))
	if n < least || n > most {
		d.refuse("too short or too long")
	}
	// A copy, so that one payload does not keep its whole frame; never nil, which means absent.
	return append([]byte{}, d.take(n)...)
}

func (d *decoder) array(least, most int) int {
	switch c := byte(d.number(1)); {
	case c&0xf0 == 0x90:
		return d.items(int(c&0x0f), least, most)
	case c == 0xdc:
		return d.items(int(d.number(2)), least, most)
	case c == 0xdd:
		return d.items(int(d.number(4)), least, most)
	}
	d.refuse("no array")
	return 0
}

func (d *decoder) mapping(least, most int) int {
	switch c := byte(d.number(1)); {
	case c&0xf0 == 0x80:
		return d.items(int(c&0x0f), least, most)
	case c == 0xde:
		return d.items(int(d.number(2)), least, most)
	case c == 0xdf:
		return d.items(int(d.number(4)), least, most)
	}
	d.refuse("no map")
	return 0
}

// items bounds what a container announces, before anything is stored for it.
func (d *decoder) items(n, least, most int) int {
	d.elements += max(n, 1)
	if n < least || n > most || n > len(d.buf)-d.at || d.elements > maxElements {
		d.refuse("too few or too many")
		return 0
	}
	return n
}

func (d *decoder) require(seen uint64, names ...string) {
	for bit, name := range names {
		if seen&(1<<bit) == 0 {
			d.field = []byte(name)
			d.refuse("missing")
			return
		}
	}
}

// skip reads any value, and refuses what the protocol refuses everywhere.
func (d *decoder) skip() {
	d.skipWithin(maxDepth)
}

func (d *decoder) skipWithin(depth int) {
	if d.err != nil || d.at >= len(d.buf) || depth == 0 {
		d.refuse("it ends too early, or is too deep")
		return
	}
	switch c := d.buf[d.at]; {
	case c < 0x80 || c >= 0xe0 || c >= 0xcc && c <= 0xd3:
		d.integer(math.MinInt64, math.MaxInt64)
	case c&0xf0 == 0x80 || c == 0xde || c == 0xdf:
		for n := d.mapping(0, maxMapItems); n > 0 && d.err == nil; n-- {
			d.str()
			d.skipWithin(depth - 1)
		}
	case c&0xf0 == 0x90 || c == 0xdc || c == 0xdd:
		for n := d.array(0, maxArrayItems); n > 0 && d.err == nil; n-- {
			d.skipWithin(depth - 1)
		}
	case c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb:
		d.str()
	case c >= 0xc4 && c <= 0xc6:
		d.at++
		d.take(int(d.number(1 << (c - 0xc4))))
	case c == 0xc0 || c == 0xc2 || c == 0xc3:
		d.at++
	case c == 0xca || c == 0xcb: // a floating point number: allowed where nobody knows the key
		d.at++
		d.take(4 << (c - 0xca))
	default:
		d.refuse("an extension, or no msgpack")
	}
}

func decodeChoice[T ~string](d *decoder, choices ...T) T {
	v := T(d.str())
	if !slices.Contains(choices, v) {
		d.refuse("none of the choices")
	}
	return v
}

func decodeRecord[T any, R interface {
	*T
	decodable
}](d *decoder) T {
	var record T
	R(&record).decode(d)
	return record
}

func decodeArray[T any](d *decoder, least, most int, item func(*decoder) T) []T {
	n := d.array(least, most)
	items := make([]T, 0, min(n, 64))
	for ; n > 0 && d.err == nil; n-- {
		items = append(items, item(d))
	}
	return items
}

func decodeMap[K comparable, V any](d *decoder, least, most int, key func(*decoder) K, value func(*decoder) V) map[K]V {
	n := d.mapping(least, most)
	entries := make(map[K]V, min(n, 64))
	for ; n > 0 && d.err == nil; n-- {
		k := key(d)
		entries[k] = value(d)
	}
	return entries
}
