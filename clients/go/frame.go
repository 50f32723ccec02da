package packhorse

import (
	"bytes"
	"encoding/binary"
	"io"
)

// readFrame reads the body of the next frame. What is announced is not stored before it came.
func readFrame(r io.Reader, limit int64) ([]byte, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	length := int64(binary.BigEndian.Uint32(header[:]))
	if length == 0 {
		return nil, &ProtocolError{Code: CodeFrameMalformed, Why: "a frame of length 0"}
	}
	if length > limit {
		return nil, &ProtocolError{Code: CodeFrameTooLarge, Why: "a frame longer than the limit"}
	}
	var body bytes.Buffer
	if n, err := body.ReadFrom(io.LimitReader(r, length)); err != nil {
		return nil, err
	} else if n < length {
		return nil, io.ErrUnexpectedEOF
	}
	return body.Bytes(), nil
}

// frame puts the length before a body that was encoded behind headerBytes empty bytes.
func frame(buf []byte) []byte {
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-headerBytes))
	return buf
}
