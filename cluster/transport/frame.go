package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A connection carries, after the hellos, records of the form
//
//	length of the rest (varint) | kind (one byte) | body
//
// Records of an unknown kind are skipped, so that later versions can add some.
const (
	// kindPing, from the dialer: body is a varint the acknowledgement repeats.
	kindPing = 1
	// kindAck, from the accepter: bytes arrive here; body is the varint of the
	// ping that it answers, or 0.
	kindAck = 2
	// kindEnvelope, from the dialer.
	kindEnvelope = 3
)

// readBuffer is how much is read at once. Records that fit are decoded in place.
const readBuffer = 256 << 10

var errTooLarge = errors.New("record is too large")

// recordReader reads records.
type recordReader struct {
	r   *bufio.Reader
	max int
	// large holds a record that does not fit the reader's buffer.
	large []byte
	// unread is the size of the record handed out last, still in the buffer.
	unread int
}

func newRecordReader(r io.Reader, most, buffer int) *recordReader {
	return &recordReader{r: bufio.NewReaderSize(r, buffer), max: most}
}

// next returns the next record; body is valid until the next call.
func (r *recordReader) next() (kind byte, body []byte, err error) {
	if _, err := r.r.Discard(r.unread); err != nil {
		return 0, nil, err
	}
	r.unread = 0
	length, err := binary.ReadUvarint(r.r)
	if err != nil {
		return 0, nil, err
	}
	if length == 0 || length > uint64(r.max) {
		return 0, nil, fmt.Errorf("%w: %d bytes announced, %d are possible", errTooLarge, length, r.max)
	}
	var record []byte
	if int(length) <= r.r.Size() {
		if record, err = r.r.Peek(int(length)); err == nil {
			r.unread = int(length)
		}
	} else {
		record, err = r.readLarge(int(length))
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, nil, err
	}
	return record[0], record[1:], nil
}

// readLarge takes memory as the bytes arrive, not as they are announced.
func (r *recordReader) readLarge(length int) ([]byte, error) {
	b := r.large[:0]
	for len(b) < length {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(length, max(2*cap(b), 2*readBuffer)))
			copy(grown, b)
			b = grown
		}
		n, err := io.ReadFull(r.r, b[len(b):min(cap(b), length)])
		b = b[:len(b)+n]
		if err != nil {
			return nil, err
		}
	}
	r.large = b
	if cap(b) > largeKept {
		r.large = nil
	}
	return b, nil
}

// largeKept is the largest buffer that a connection keeps for later.
const largeKept = 4 << 20

// appendRecord appends a record whose body is one varint.
func appendRecord(b []byte, kind byte, value uint64) []byte {
	var body [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(body[:], value)
	b = append(b, byte(1+n), kind)
	return append(b, body[:n]...)
}
