package api

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// A frame is what links carry:
//
//	+----------------+-------------------------------+
//	| length, 4 byte | CallBatch, or ReplyBatch from |
//	| big endian     | the node; "length" bytes      |
//	+----------------+-------------------------------+
//
// An empty frame says "still there"; the node answers it with one. A node that
// ends a link for a fault of the client sends a Reply with id 0 first.
const frameHeaderBytes = 4

// LinkPath and LinkProtocol are what a client asks for to get a link.
const (
	LinkPath     = "/v1/link"
	LinkProtocol = "ringmaster-link/1"
)

// frameStepBytes is how much memory a frame gets before more of it arrived.
const frameStepBytes = 256 << 10

// callsPerFrameMax bounds the calls of one frame: a call may be two bytes long
// there and is hundreds in memory.
const callsPerFrameMax = 65536

// FrameReader reads frames from one goroutine.
type FrameReader struct {
	in   *bufio.Reader
	most int
	buf  []byte
}

// NewFrameReader reads frames that have at most that many bytes.
func NewFrameReader(in io.Reader, most int) *FrameReader {
	return &FrameReader{in: bufio.NewReaderSize(in, 64<<10), most: most}
}

// ErrFrameTooLarge is the error of a frame above the limit.
var ErrFrameTooLarge = errors.New("the frame is larger than the limit")

// Next returns the body of the next frame, valid until the call after it. io.EOF
// means that the link ended between two frames.
func (f *FrameReader) Next() ([]byte, error) {
	var header [frameHeaderBytes]byte
	if _, err := io.ReadFull(f.in, header[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(header[:]))
	if size > f.most {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrFrameTooLarge, size, f.most)
	}
	// The buffer grows with what really arrives, not with what was announced.
	f.buf = f.buf[:0]
	for len(f.buf) < size {
		had := len(f.buf)
		f.buf = slices.Grow(f.buf, min(size-had, frameStepBytes))
		f.buf = f.buf[:min(size, had+frameStepBytes)]
		if _, err := io.ReadFull(f.in, f.buf[had:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return f.buf, nil
}

// BeginFrame makes room for a frame's header at the end of buf; EndFrame fills it
// in once the body is appended. at is where the frame began.
func BeginFrame(buf []byte) (out []byte, at int) {
	return append(buf, 0, 0, 0, 0), len(buf)
}

// EndFrame ends the frame that began at.
func EndFrame(buf []byte, at int) {
	binary.BigEndian.PutUint32(buf[at:], uint32(len(buf)-at-frameHeaderBytes))
}

// Numbers of the fields of CallBatch and ReplyBatch.
const (
	fieldCalls   = 1
	fieldReplies = 1
	fieldRoute   = 2
)

// AppendCall appends a call to the body of a frame.
func AppendCall(buf []byte, c *messages.Call) ([]byte, error) {
	return appendMessage(buf, fieldCalls, c)
}

// AppendReply appends a reply to the body of a frame.
func AppendReply(buf []byte, r *messages.Reply) ([]byte, error) {
	return appendMessage(buf, fieldReplies, r)
}

// AppendRoute appends a route to the body of a frame.
func AppendRoute(buf []byte, r *messages.Route) ([]byte, error) {
	return appendMessage(buf, fieldRoute, r)
}

func appendMessage(buf []byte, field protowire.Number, m proto.Message) ([]byte, error) {
	buf = protowire.AppendTag(buf, field, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(proto.Size(m)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(buf, m)
}

// DecodeCalls visits the calls of a frame's body in order, until an error.
func DecodeCalls(body []byte, visit func(*messages.Call)) error {
	count := 0
	return eachField(body, func(field protowire.Number, value []byte) error {
		if field != fieldCalls {
			return nil
		}
		if count++; count > callsPerFrameMax {
			return fmt.Errorf("the frame holds more than %d calls", callsPerFrameMax)
		}
		c := new(messages.Call)
		if err := proto.Unmarshal(value, c); err != nil {
			return fmt.Errorf("call %d of the frame is malformed: %w", count, err)
		}
		visit(c)
		return nil
	})
}

// DecodeReplies visits the replies and the routes of a frame's body in order,
// until an error.
func DecodeReplies(body []byte, reply func(*messages.Reply), route func(*messages.Route)) error {
	return eachField(body, func(field protowire.Number, value []byte) error {
		switch field {
		case fieldReplies:
			r := new(messages.Reply)
			if err := proto.Unmarshal(value, r); err != nil {
				return fmt.Errorf("a reply of the frame is malformed: %w", err)
			}
			reply(r)
		case fieldRoute:
			r := new(messages.Route)
			if err := proto.Unmarshal(value, r); err != nil {
				return fmt.Errorf("the route of the frame is malformed: %w", err)
			}
			route(r)
		}
		return nil
	})
}

// eachField visits the length-delimited fields of a message and skips others.
func eachField(body []byte, visit func(field protowire.Number, value []byte) error) error {
	for len(body) > 0 {
		field, wireType, n := protowire.ConsumeTag(body)
		if n < 0 {
			return fmt.Errorf("the frame is no batch: %w", protowire.ParseError(n))
		}
		body = body[n:]
		if wireType != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, wireType, body); n < 0 {
				return fmt.Errorf("the frame is no batch: %w", protowire.ParseError(n))
			}
			body = body[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(body)
		if n < 0 {
			return fmt.Errorf("the frame is no batch: %w", protowire.ParseError(n))
		}
		body = body[n:]
		if err := visit(field, value); err != nil {
			return err
		}
	}
	return nil
}
