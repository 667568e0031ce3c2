package actors

import (
	"strings"

	"google.golang.org/protobuf/proto"
)

// messageDepthMax bounds how deep messages from outside may nest. Ten thousand,
// protobuf's own bound, costs megabytes of stack; nobody writes a hundred.
const messageDepthMax = 100

// encode appends the deterministic encoding of m: the same message gives the
// same bytes, whatever the order of its maps in memory.
func encode(buf []byte, m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend(buf, m)
}

// plainText gives the text of protobuf's errors without their prefix and its
// deliberately unstable white space, so that the same error reads the same.
func plainText(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.TrimPrefix(text, "proto: ")
}
