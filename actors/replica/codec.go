package replica

import (
	"encoding/binary"
	"errors"
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Raft's messages between nodes travel many in one frame, in a codec of our own:
// protobuf's costs several times more for the small messages that raft sends by
// the thousand. A frame is a sequence of
//
//	uvarint partition
//	byte    type          (raft's MessageType)
//	byte    flags         (reject, context, entries)
//	uvarint from, to, term, logTerm, index, commit
//	uvarint rejectHint                   if reject
//	uvarint length, bytes context        if context
//	uvarint count                        if entries, then for each
//	    uvarint term; byte type; uvarint length, bytes data
//
// An entry's index follows from the message's. Snapshots do not travel here.
const (
	flagReject  = 1 << 0
	flagContext = 1 << 1
	flagEntries = 1 << 2
)

// entriesMax bounds the entries of one decoded message; a frame that claims more
// is refused before memory is taken for them.
const entriesMax = 1 << 16

var errFrame = errors.New("malformed raft frame")

// appendMessage adds one message of a partition to a frame.
func appendMessage(b []byte, partition uint64, m *pb.Message) []byte {
	b = binary.AppendUvarint(b, partition)
	var flags byte
	if m.GetReject() {
		flags |= flagReject
	}
	if len(m.GetContext()) > 0 {
		flags |= flagContext
	}
	if len(m.GetEntries()) > 0 {
		flags |= flagEntries
	}
	b = append(b, byte(m.GetType()), flags)
	b = binary.AppendUvarint(b, m.GetFrom())
	b = binary.AppendUvarint(b, m.GetTo())
	b = binary.AppendUvarint(b, m.GetTerm())
	b = binary.AppendUvarint(b, m.GetLogTerm())
	b = binary.AppendUvarint(b, m.GetIndex())
	b = binary.AppendUvarint(b, m.GetCommit())
	if flags&flagReject != 0 {
		b = binary.AppendUvarint(b, m.GetRejectHint())
	}
	if flags&flagContext != 0 {
		b = appendBytes(b, m.GetContext())
	}
	if flags&flagEntries != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.GetEntries())))
		for _, e := range m.GetEntries() {
			b = binary.AppendUvarint(b, e.GetTerm())
			b = append(b, byte(e.GetType()))
			b = appendBytes(b, e.GetData())
		}
	}
	return b
}

// decodeMessages calls deliver for each message of a frame. The messages refer to
// the frame's bytes, which must not change any more.
func decodeMessages(frame []byte, deliver func(partition uint64, m *pb.Message)) error {
	r := reader{b: frame}
	for len(r.b) > 0 && r.err == nil {
		partition, m := r.message()
		if r.err != nil {
			break
		}
		deliver(partition, m)
	}
	return r.err
}

// reader takes values off the front of a frame; after an error all are zero.
type reader struct {
	b   []byte
	err error
}

// fixed holds a message and its numbers in one allocation.
type fixed struct {
	m                                            pb.Message
	kind                                         pb.MessageType
	from, to, term, logTerm, index, commit, hint uint64
	reject                                       bool
}

func (r *reader) message() (uint64, *pb.Message) {
	partition := r.uvarint()
	f := &fixed{kind: pb.MessageType(r.byte())}
	flags := r.byte()
	f.from, f.to, f.term = r.uvarint(), r.uvarint(), r.uvarint()
	f.logTerm, f.index, f.commit = r.uvarint(), r.uvarint(), r.uvarint()
	m := &f.m
	m.Type, m.From, m.To, m.Term = &f.kind, &f.from, &f.to, &f.term
	m.LogTerm, m.Index, m.Commit = &f.logTerm, &f.index, &f.commit
	if flags&flagReject != 0 {
		f.reject, f.hint = true, r.uvarint()
		m.Reject, m.RejectHint = &f.reject, &f.hint
	}
	if flags&flagContext != 0 {
		m.Context = r.bytes()
	}
	if flags&flagEntries != 0 {
		m.Entries = r.entries(f.index)
	}
	if r.err == nil && !travels(f.kind) {
		r.err = fmt.Errorf("%w: message type %d does not travel between nodes", errFrame, f.kind)
	}
	return partition, m
}

func (r *reader) entries(after uint64) []*pb.Entry {
	n := r.uvarint()
	if n > entriesMax || n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	type fixedEntry struct {
		e           pb.Entry
		term, index uint64
		kind        pb.EntryType
	}
	all := make([]fixedEntry, n)
	entries := make([]*pb.Entry, n)
	for i := range all {
		f := &all[i]
		f.term, f.index, f.kind = r.uvarint(), after+1+uint64(i), pb.EntryType(r.byte())
		f.e.Term, f.e.Index, f.e.Type = &f.term, &f.index, &f.kind
		f.e.Data = r.bytes()
		entries[i] = &f.e
	}
	return entries
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errFrame
	}
	r.b = nil
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// travels reports whether a message of that type may come from another node.
func travels(t pb.MessageType) bool {
	switch t {
	case pb.MsgApp, pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp,
		pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgTimeoutNow, pb.MsgReadIndex, pb.MsgReadIndexResp:
		return true
	default:
		return false
	}
}

// encodeEntry and decodeEntry are the form of one log entry on disk.
func encodeEntry(e *pb.Entry) []byte {
	b := make([]byte, 0, len(e.GetData())+12)
	b = binary.AppendUvarint(b, e.GetTerm())
	b = append(b, byte(e.GetType()))
	return append(b, e.GetData()...)
}

func decodeEntry(index uint64, b []byte) (*pb.Entry, error) {
	r := reader{b: b}
	term, kind := r.uvarint(), pb.EntryType(r.byte())
	if r.err != nil {
		return nil, errors.New("malformed log entry")
	}
	if kind != pb.EntryNormal && kind != pb.EntryConfChange && kind != pb.EntryConfChangeV2 {
		return nil, fmt.Errorf("log entry of unknown type %d", kind)
	}
	return &pb.Entry{Term: &term, Index: &index, Type: &kind, Data: append([]byte(nil), r.b...)}, nil
}
