package transport

import "fmt"

// Reason says why a message was dropped before it was sent.
type Reason uint8

// The reasons.
const (
	// DropDown: the peer is down, or its address is unknown.
	DropDown Reason = iota + 1
	// DropFull: the lane's queue is full.
	DropFull
	// DropBroken: the link broke before the bytes were surely delivered.
	DropBroken
	// DropTooLarge: the envelope is larger than Config.FrameBytes.
	DropTooLarge
	// DropType: the message is of no type in Config.Types.
	DropType
	// DropInvalid: protobuf refuses the message, or a name is empty or too long.
	DropInvalid
	// DropSender: the message names a sender on another node.
	DropSender
	// DropClosed: the transport is closed.
	DropClosed
	// DropIntercepted: Config.Intercept said so.
	DropIntercepted

	reasonCount
)

func (r Reason) String() string {
	switch r {
	case DropDown:
		return "peer is down"
	case DropFull:
		return "queue is full"
	case DropBroken:
		return "link broke"
	case DropTooLarge:
		return "message is too large"
	case DropType:
		return "message type is not allowed"
	case DropInvalid:
		return "message or name is invalid"
	case DropSender:
		return "sender is not local"
	case DropClosed:
		return "transport is closed"
	case DropIntercepted:
		return "fault injected"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Drop tells of messages that were dropped on the sending side.
type Drop struct {
	Peer   string
	Lane   Lane
	Reason Reason
	// Count is how many. With DropBroken some of them may have arrived.
	Count int
	// Target is set when one message was dropped by its sender's call.
	Target string
}
