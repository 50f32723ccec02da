package packhorse

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// encoder appends msgpack values. The first value that the protocol does not allow stays in err.
type encoder struct {
	buf      []byte
	entries  int // of the map that is open
	elements int // array items and map entries so far, as the protocol bounds them
	field    string
	err      error
}

// mark is where a map began, and the entries of the map around it.
type mark struct{ at, entries int }

// open begins a map whose number of entries is known at its close.
func (e *encoder) open() mark {
	m := mark{len(e.buf), e.entries}
	e.entries = 0
	e.buf = append(e.buf, 0)
	return m
}

func (e *encoder) close(m mark) {
	e.elements += max(e.entries, 1)
	if e.entries < 16 {
		e.buf[m.at] = 0x80 | byte(e.entries)
	} else {
		e.buf[m.at] = 0xde
		e.buf = slices.Insert(e.buf, m.at+1, byte(e.entries>>8), byte(e.entries))
	}
	e.entries = m.entries
}

func (e *encoder) key(name string) {
	e.entries++
	e.field = name
	e.str(name)
}

func (e *encoder) refuse(why string) {
	if e.err == nil {
		e.err = &InvalidError{Field: e.field, Why: why}
	}
}

func (e *encoder) integer(v, least, most int64) {
	if v < least || v > most {
		e.refuse("out of bounds")
	}
	switch {
	case v >= -32 && v <= 127:
		e.buf = append(e.buf, byte(v))
	case v >= 0 && v <= math.MaxUint8:
		e.buf = append(e.buf, 0xcc, byte(v))
	case v >= 0 && v <= math.MaxUint16:
		e.buf = binary.BigEndian.AppendUint16(append(e.buf, 0xcd), uint16(v))
	case v >= 0 && v <= math.MaxUint32:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, 0xce), uint32(v))
	case v >= 0:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, 0xcf), uint64(v))
	case v >= math.MinInt8:
		e.buf = append(e.buf, 0xd0, byte(v))
	case v >= math.MinInt16:
		e.buf = binary.BigEndian.AppendUint16(append(e.buf, 0xd1), uint16(v))
	case v >= math.MinInt32:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, 0xd2), uint32(v))
	default:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, 0xd3), uint64(v))
	}
}

func (e *encoder) boolean(v bool) {
	if v {
		e.buf = append(e.buf, 0xc3)
	} else {
		e.buf = append(e.buf, 0xc2)
	}
}

func (e *encoder) name(v string, most int) {
	if !isName(v) {
		e.refuse("no name: empty, blank or with control characters")
	}
	e.text(v, most)
}

func (e *encoder) text(v string, most int) {
	if !utf8.ValidString(v) {
		e.refuse("no UTF-8")
	} else if utf8.RuneCountInString(v) > most {
		e.refuse("too long")
	}
	e.str(v)
}

func (e *encoder) str(v string) {
	if n := len(v); n < 32 {
		e.buf = append(e.buf, 0xa0|byte(n))
	} else {
		e.head(n, 0xd9, 0xda, 0xdb)
	}
	e.buf = append(e.buf, v...)
}

func (e *encoder) binary(v []byte, least, most int) {
	if len(v) < least || len(v) > most {
		e.refuse("too short or too long")
	}
	e.head(len(v), 0xc4, 0xc5, 0xc6)
	e.buf = append(e.buf, v...)
}

func (e *encoder) array(n, least, most int) {
	if n < least || n > most {
		e.refuse("too few or too many")
	}
	e.elements += max(n, 1)
	e.arrayHead(n)
}

func (e *encoder) arrayHead(n int) {
	if n < 16 {
		e.buf = append(e.buf, 0x90|byte(n))
	} else {
		e.head(n, 0, 0xdc, 0xdd)
	}
}

func (e *encoder) mapping(n, least, most int) {
	if n < least || n > most {
		e.refuse("too few or too many")
	}
	e.elements += max(n, 1)
	if n < 16 {
		e.buf = append(e.buf, 0x80|byte(n))
	} else {
		e.head(n, 0, 0xde, 0xdf)
	}
}

// head appends a length in 1, 2 or 4 bytes behind its type byte; c8 0: there is no form of 1 byte.
func (e *encoder) head(n int, c8, c16, c32 byte) {
	switch {
	case n <= math.MaxUint8 && c8 != 0:
		e.buf = append(e.buf, c8, byte(n))
	case n <= math.MaxUint16:
		e.buf = binary.BigEndian.AppendUint16(append(e.buf, c16), uint16(n))
	default:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, c32), uint32(n))
	}
}

func encodeChoice[T ~string](e *encoder, v T, choices ...T) {
	if !slices.Contains(choices, v) {
		e.refuse("none of the choices")
	}
	e.str(string(v))
}

// isName tells whether a text may be a name, apart from its length.
func isName(v string) bool {
	return strings.IndexFunc(v, unicode.IsControl) < 0 && strings.TrimFunc(v, unicode.IsSpace) != ""
}
