package gossip

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Every gossip stream opens with
//
//	"RMGO" | length (2 bytes, big endian) | messages.GossipHello
//
// from the dialer and the same frame around a messages.GossipVerdict from the
// accepter. memberlist alone would answer a wrong key or a foreign cluster by
// closing the connection.
const (
	helloMagic    = "RMGO"
	helloMax      = 2048
	helloProtocol = 1
	nonceSize     = 16
	instanceSize  = 16

	// greetingsMax bounds the streams whose hello is awaited.
	greetingsMax = 64
)

// streams is memberlist's transport with our hello in front of each stream.
type streams struct {
	*memberlist.NetTransport
	keyring   *memberlist.Keyring
	clusterID func() string
	instance  []byte
	timeout   time.Duration
	// refused hears of streams that were turned away here.
	refused func(from string, err error)

	ctx    context.Context
	cancel context.CancelFunc
	out    chan net.Conn
	room   chan struct{}
	// taking is memberlist's side; greeting the goroutines of strangers.
	taking, greeting sync.WaitGroup

	// mu guards dialErrors: why the newest dial of an address failed. memberlist
	// hands errors on as text only.
	mu         sync.Mutex
	dialErrors map[string]error
}

var _ memberlist.NodeAwareTransport = (*streams)(nil)

// start lets streams in.
func (s *streams) start() {
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.out = make(chan net.Conn)
	s.room = make(chan struct{}, greetingsMax)
	s.dialErrors = make(map[string]error)
	s.taking.Go(s.take)
}

func (s *streams) take() {
	for {
		select {
		case conn := <-s.NetTransport.StreamCh():
			select {
			case s.room <- struct{}{}:
				s.greeting.Go(func() {
					s.greet(conn)
					<-s.room
				})
			default:
				conn.Close()
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// StreamCh implements memberlist.Transport.
func (s *streams) StreamCh() <-chan net.Conn { return s.out }

// Shutdown implements memberlist.Transport.
func (s *streams) Shutdown() error {
	// take drains what the listener still hands out.
	err := s.NetTransport.Shutdown()
	s.cancel()
	s.taking.Wait()
	s.greeting.Wait()
	return err
}

// DialTimeout implements memberlist.Transport.
func (s *streams) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return s.DialAddressTimeout(memberlist.Address{Addr: address}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (s *streams) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := s.dial(a.Addr, timeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.dialErrors[a.Addr] = err
		return nil, err
	}
	delete(s.dialErrors, a.Addr)
	return conn, nil
}

// dialError returns why the newest dial of an address failed; nil if it did not.
func (s *streams) dialError(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.dialErrors[address]
	delete(s.dialErrors, address)
	return err
}

func (s *streams) dial(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	err = s.introduce(conn, address)
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// introduce says hello on a dialed stream.
func (s *streams) introduce(conn net.Conn, address string) error {
	hello := &messages.GossipHello{Protocol: helloProtocol, ClusterId: s.clusterID(), Instance: s.instance}
	if key := s.primaryKey(); key != nil {
		hello.Nonce = make([]byte, nonceSize)
		rand.Read(hello.Nonce) // Never fails.
		hello.Proof = prove(key, hello.Nonce)
	}
	if err := writeMessage(conn, hello); err != nil {
		return err
	}
	verdict := &messages.GossipVerdict{}
	if err := readMessage(conn, verdict); err != nil {
		return fmt.Errorf("gossip hello to %s: %w", address, err)
	}
	kind := map[messages.GossipVerdictCode]error{
		messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_KEY:     ErrKeyMismatch,
		messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_CLUSTER: ErrOtherCluster,
		messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_SELF:    errSelf,
	}[verdict.GetCode()]
	switch {
	case verdict.GetCode() == messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_WELCOME:
		return nil
	case kind == nil:
		return fmt.Errorf("gossip with %s: it refuses: %.300q", address, verdict.GetReason())
	}
	return fmt.Errorf("%w with %s: %.300s", kind, address, verdict.GetReason())
}

// greet judges an accepted stream, and hands it to memberlist if it is welcome.
func (s *streams) greet(conn net.Conn) {
	release := context.AfterFunc(s.ctx, func() { conn.Close() })
	defer release()
	conn.SetDeadline(time.Now().Add(s.timeout))
	hello := &messages.GossipHello{}
	if err := readMessage(conn, hello); err != nil {
		conn.Close()
		s.refused(conn.RemoteAddr().String(), fmt.Errorf("gossip hello: %w", err))
		return
	}
	verdict, err := s.judge(hello)
	if werr := writeMessage(conn, verdict); err != nil || werr != nil {
		conn.Close()
		if err != nil && !errors.Is(err, errSelf) {
			s.refused(conn.RemoteAddr().String(), err)
		}
		return
	}
	conn.SetDeadline(time.Time{})
	select {
	case s.out <- conn:
	case <-s.ctx.Done():
		conn.Close()
	}
}

func (s *streams) judge(h *messages.GossipHello) (*messages.GossipVerdict, error) {
	ours := s.clusterID()
	switch {
	case h.GetProtocol() != helloProtocol:
		return verdict(messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_PROTOCOL, nil,
			fmt.Sprintf("gossip protocol %d is not spoken here, only %d; upgrade the older node", h.GetProtocol(), helloProtocol))
	case bytes.Equal(h.GetInstance(), s.instance):
		return verdict(messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_SELF, errSelf, "this is the node itself")
	case !s.proven(h):
		return verdict(messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_KEY, ErrKeyMismatch, s.keyReason(h))
	case ours != "" && h.GetClusterId() != "" && h.GetClusterId() != ours:
		return verdict(messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_CLUSTER, ErrOtherCluster,
			fmt.Sprintf("it belongs to cluster %s and the node that dialed to cluster %.64s; check --join, or give the node that should move an empty data directory", ours, h.GetClusterId()))
	}
	return &messages.GossipVerdict{Code: messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_WELCOME}, nil
}

func verdict(code messages.GossipVerdictCode, kind error, reason string) (*messages.GossipVerdict, error) {
	err := errors.New(reason)
	if kind != nil {
		err = fmt.Errorf("%w: %s", kind, reason)
	}
	return &messages.GossipVerdict{Code: code, Reason: reason}, err
}

func (s *streams) keyReason(h *messages.GossipHello) string {
	const next = "; use the same --gossip-key on all nodes"
	switch {
	case len(h.GetProof()) == 0:
		return "it has a gossip key and the node that dialed has none" + next
	case s.primaryKey() == nil:
		return "it has no gossip key and the node that dialed has one" + next
	}
	return "its gossip key differs from that of the node that dialed" + next
}

func (s *streams) primaryKey() []byte {
	if s.keyring == nil {
		return nil
	}
	return s.keyring.GetPrimaryKey()
}

// proven says whether the dialer knows one of our keys, or both have none.
func (s *streams) proven(h *messages.GossipHello) bool {
	if s.keyring == nil {
		return len(h.GetProof()) == 0
	}
	if len(h.GetNonce()) != nonceSize {
		return false
	}
	for _, key := range s.keyring.GetKeys() {
		if hmac.Equal(prove(key, h.GetNonce()), h.GetProof()) {
			return true
		}
	}
	return false
}

func prove(key, nonce []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("ringmaster gossip hello"))
	mac.Write(nonce)
	return mac.Sum(nil)
}

func writeMessage(w io.Writer, m proto.Message) error {
	b := append([]byte(helloMagic), 0, 0)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, m)
	if err != nil {
		return err
	}
	size := len(b) - len(helloMagic) - 2
	if size > helloMax {
		return fmt.Errorf("hello has %d bytes, %d are possible", size, helloMax)
	}
	binary.BigEndian.PutUint16(b[len(helloMagic):], uint16(size))
	_, err = w.Write(b)
	return err
}

func readMessage(r io.Reader, m proto.Message) error {
	var head [len(helloMagic) + 2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	if string(head[:len(helloMagic)]) != helloMagic {
		return fmt.Errorf("no Ringmaster node gossips there: the first bytes are %q", head[:len(helloMagic)])
	}
	size := binary.BigEndian.Uint16(head[len(helloMagic):])
	if size > helloMax {
		return fmt.Errorf("it has %d bytes, %d are possible", size, helloMax)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return proto.UnmarshalOptions{RecursionLimit: 10}.Unmarshal(b, m)
}
