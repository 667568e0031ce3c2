package transport

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// A connection opens with a hello from each side, the dialer's first:
//
//	"RMLK" | length (4 bytes, big endian) | messages.LinkHello
const (
	helloMagic = "RMLK"
	// helloMax bounds a hello in bytes.
	helloMax = 64 << 10
	// protocolNow and protocolMin are the versions this code speaks.
	protocolNow = 1
	protocolMin = 1

	instanceSize = 16
	helloTextMax = 256
)

// HandshakeError says why two nodes could not open a link.
type HandshakeError struct {
	// Peer is the node id that was meant, or that the stranger claims.
	Peer string
	// Address is the other end, host:port.
	Address string
	Code    messages.LinkRefusalCode
	Reason  string
	// Remote: the other side refused, not this one.
	Remote bool
}

func (e *HandshakeError) Error() string {
	who := "refused"
	if e.Remote {
		who = "was refused by it"
	}
	return fmt.Sprintf("link with node %q at %s %s: %s", e.Peer, e.Address, who, e.Reason)
}

func newInstance() []byte {
	b := make([]byte, instanceSize)
	rand.Read(b) // Never fails.
	return b
}

func writeHello(w io.Writer, h *messages.LinkHello) error {
	b := make([]byte, 0, 1024)
	b = append(b, helloMagic...)
	b = append(b, 0, 0, 0, 0)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, h)
	if err != nil {
		return fmt.Errorf("encode hello: %w", err)
	}
	size := len(b) - len(helloMagic) - 4
	if size > helloMax {
		return fmt.Errorf("encode hello: it has %d bytes, %d are possible", size, helloMax)
	}
	binary.BigEndian.PutUint32(b[len(helloMagic):], uint32(size))
	_, err = w.Write(b)
	return err
}

// readHello reads exactly one hello and checks its form.
func readHello(r io.Reader) (*messages.LinkHello, error) {
	var head [len(helloMagic) + 4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read hello: %w", err)
	}
	if string(head[:len(helloMagic)]) != helloMagic {
		return nil, malformed("no Ringmaster node speaks here: the first bytes are %q", head[:len(helloMagic)])
	}
	size := binary.BigEndian.Uint32(head[len(helloMagic):])
	if size > helloMax {
		return nil, malformed("hello has %d bytes, %d are possible", size, helloMax)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read hello: %w", err)
	}
	h := &messages.LinkHello{}
	if err := (proto.UnmarshalOptions{RecursionLimit: depthMax}).Unmarshal(b, h); err != nil {
		return nil, malformed("hello: %v", err)
	}
	if err := checkHello(h); err != nil {
		return nil, err
	}
	return h, nil
}

func checkHello(h *messages.LinkHello) error {
	if h.GetRefusal() != nil {
		return nil
	}
	switch {
	case h.GetNodeId() == "" || len(h.GetNodeId()) > nodeIDMax:
		return malformed("node id has %d bytes, 1 to %d are possible", len(h.GetNodeId()), nodeIDMax)
	case len(h.GetInstance()) != instanceSize:
		return malformed("instance has %d bytes, not %d", len(h.GetInstance()), instanceSize)
	case max(len(h.GetClusterId()), len(h.GetName()), len(h.GetVersion()), len(h.GetWantNodeId())) > helloTextMax:
		return malformed("a text is longer than %d bytes", helloTextMax)
	case h.GetLane() >= uint32(laneCount):
		return malformed("lane %d does not exist", h.GetLane())
	case len(h.GetTypes()) > typesMax:
		return malformed("%d message types, %d are possible", len(h.GetTypes()), typesMax)
	case h.GetProtocolMin() > h.GetProtocol():
		return malformed("protocol versions %d to %d", h.GetProtocolMin(), h.GetProtocol())
	}
	return nil
}

// refusal is a verdict on a hello; it becomes a HandshakeError.
type refusal struct {
	code   messages.LinkRefusalCode
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(code messages.LinkRefusalCode, format string, args ...any) *refusal {
	return &refusal{code: code, reason: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) error {
	return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_MALFORMED, format, args...)
}

// hello returns what this node says first on a connection.
func (t *Transport) hello(want string, lane Lane) *messages.LinkHello {
	return &messages.LinkHello{
		Protocol:    protocolNow,
		ProtocolMin: protocolMin,
		ClusterId:   t.ClusterID(),
		NodeId:      t.config.NodeID,
		Name:        t.config.Name,
		Boot:        t.config.Boot,
		Version:     t.config.Version,
		Instance:    t.instance,
		WantNodeId:  want,
		Lane:        uint32(lane),
		Types:       t.types.Names(),
	}
}

// judge says whether this node may talk to the speaker of h, as both sides do.
func (t *Transport) judge(h *messages.LinkHello) *refusal {
	ours, theirs := t.ClusterID(), h.GetClusterId()
	switch {
	case h.GetProtocolMin() > protocolNow || h.GetProtocol() < protocolMin:
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_PROTOCOL,
			"node %s (version %s) speaks link protocol %d to %d and this one (version %s) %d to %d; upgrade the older of the two",
			label(h), h.GetVersion(), h.GetProtocolMin(), h.GetProtocol(), t.config.Version, protocolMin, protocolNow)
	case h.GetNodeId() == t.config.NodeID && string(h.GetInstance()) == string(t.instance):
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_SELF,
			"the node reached itself; check the address that it and the others advertise for links")
	case h.GetNodeId() == t.config.NodeID:
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_DUPLICATE_NODE,
			"two processes run as node %s: one data directory is a copy of the other; stop one of the two and give it an empty directory",
			label(h))
	case ours != "" && theirs != "" && ours != theirs:
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_CLUSTER,
			"node %s belongs to cluster %s and this node, %s, to cluster %s; check the addresses, or give the one that should move an empty data directory",
			label(h), theirs, t.config.NodeID, ours)
	}
	return nil
}

// label names a node for people.
func label(h *messages.LinkHello) string {
	if h.GetName() == "" {
		return h.GetNodeId()
	}
	return fmt.Sprintf("%s (%s)", h.GetName(), h.GetNodeId())
}

// asHandshakeError turns verdicts into the error that callers see; other errors
// stay as they are.
func asHandshakeError(err error, peer, address string) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		return &HandshakeError{Peer: peer, Address: address, Code: r.code, Reason: r.reason}
	}
	return err
}
