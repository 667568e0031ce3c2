package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Client calls actors from outside or inside a node. It numbers every command, so
// that one may be tried again, on any node, until the caller's time is over, and
// still runs at most once.
//
// What its answers mean:
//
//  1. Success, a rejection, a failure of the handler: that is how the call ended.
//  2. CODE_UNAVAILABLE: the call did not run and will not. CODE_OUTCOME_UNKNOWN:
//     the caller's time ended after an attempt whose end is not known; the error's
//     Request is the number to ask again under, with [Client.Go].
//  3. The client gives a number once. Its low-water mark passes a number only
//     after the caller was told how that call ended for good.
//
// Its methods may be called from any number of goroutines; share one Client.
type Client struct {
	opts clientOptions
	// epoch is the zero of the client's clock.
	epoch time.Time

	// count is the number of slices of the ring; 0 until a node told it.
	count atomic.Uint32
	// masters holds, for each partition, the peer last heard to be its master; nil
	// for none. It is made once count is known.
	masters atomic.Pointer[[]atomic.Pointer[peer]]
	// sessions holds what numbers the commands of each partition.
	sessions atomic.Pointer[[]partitionSession]
	// peers are all nodes known, in a slice that is replaced, never changed.
	peers atomic.Pointer[[]*peer]

	// reading counts the readers that are settling calls; see cork.
	reading atomic.Int32

	mu sync.Mutex
	// byNode finds peers by node id.
	byNode map[string]*peer
	// parked are calls that wait for their next attempt.
	parked []*operation
	closed bool
	// formed is closed when count is known.
	formed chan struct{}

	// stop ends all goroutines of the client; running counts them.
	stop    context.CancelFunc
	life    context.Context //nolint:containedctx // the life of the client, not of a call
	running sync.WaitGroup
}

// ClientOption changes how a Client works.
type ClientOption func(*clientOptions)

type clientOptions struct {
	tls      *tls.Config
	logger   *slog.Logger
	timeout  time.Duration
	failFast bool
}

// WithClientTLS secures the connections to nodes. Default: in the clear.
func WithClientTLS(c *tls.Config) ClientOption { return func(o *clientOptions) { o.tls = c } }

// WithClientLogger gets a line for each node that comes or goes. Default: discard.
func WithClientLogger(l *slog.Logger) ClientOption { return func(o *clientOptions) { o.logger = l } }

// WithCallTimeout bounds calls whose context has no deadline. Default 30 s.
func WithCallTimeout(d time.Duration) ClientOption { return func(o *clientOptions) { o.timeout = d } }

// WithFailFast has calls end at the first CODE_UNAVAILABLE of a node, instead of
// trying again until the caller's time is over. Default off.
func WithFailFast() ClientOption { return func(o *clientOptions) { o.failFast = true } }

// defaultCallTimeout is long enough for any fail-over, and for a person.
const defaultCallTimeout = 30 * time.Second

// ErrUnreachable is the error of Dial when no node answered.
var ErrUnreachable = errors.New("no node could be reached")

func newClient(opts []ClientOption) *Client {
	c := &Client{
		opts:   clientOptions{logger: slog.New(slog.DiscardHandler), timeout: defaultCallTimeout},
		epoch:  time.Now(),
		byNode: make(map[string]*peer),
		formed: make(chan struct{}),
	}
	for _, o := range opts {
		o(&c.opts)
	}
	c.peers.Store(&[]*peer{})
	c.life, c.stop = context.WithCancel(context.Background())
	c.running.Go(c.keepTime)
	return c
}

// Dial makes a client of the cluster to which the nodes at addrs, each host:port,
// belong. One of them that answers is enough; the others of the cluster are
// learned from it. Dial returns when a node has said where the masters are; when
// the context ends before, the error wraps ErrUnreachable.
func Dial(ctx context.Context, addrs []string, opts ...ClientOption) (*Client, error) {
	if len(addrs) == 0 {
		return nil, errors.New("dial: no address is given; name at least one node as host:port")
	}
	c := newClient(opts)
	c.mu.Lock()
	for _, address := range addrs {
		c.addPeerLocked(address, "", true)
	}
	c.mu.Unlock()
	select {
	case <-c.formed:
		return c, nil
	case <-ctx.Done():
	}
	var reasons []string
	for _, p := range *c.peers.Load() {
		reasons = append(reasons, p.address+": "+p.trouble())
	}
	c.Close()
	return nil, fmt.Errorf("dial: %w (%w): %s", ErrUnreachable, ctx.Err(), strings.Join(reasons, "; "))
}

// Close ends the client. Calls under way are answered as when their time is over.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	parked := c.parked
	c.parked = nil
	c.mu.Unlock()
	c.stop()
	for _, op := range parked {
		c.expire(op, errClientClosed)
	}
	c.running.Wait()
	// Local lanes have no goroutine that fails what they have under way.
	for _, p := range *c.peers.Load() {
		if p.local != nil {
			for _, op := range p.local.abandon() {
				c.lost(op, p)
			}
		}
	}
}

const errClientClosed = "the client was closed"

// Invoke implements [actors.Client].
func (c *Client) Invoke(ctx context.Context, inv actors.Invocation) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, &actors.Error{Code: messages.Code_CODE_UNAVAILABLE, Message: "the caller's context ended before the call began; it did not run", Err: err}
	}
	timeout := c.opts.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	replies := make(chan *messages.Reply, 1)
	op := c.newOperation(&messages.Call{
		Kind: inv.Actor.Kind, Key: inv.Actor.Key, Method: inv.Method, Payload: inv.Payload, Query: inv.Query,
	}, timeout, func(r *messages.Reply) { replies <- r })
	c.dispatch(op)
	var reply *messages.Reply
	select {
	case reply = <-replies:
	case <-ctx.Done():
		c.expire(op, "the caller's time is over")
		reply = <-replies
	}
	if reply.GetCode() == messages.Code_CODE_OK {
		return reply.GetPayload(), nil
	}
	cause := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && cause == nil && !time.Now().Before(deadline) {
		cause = context.DeadlineExceeded // the client's clock was ahead of the context's timer
	}
	return nil, op.errorOf(reply, cause)
}

// Go makes a call and returns at once. done is called once, with the last reply;
// it must not block, and may itself call Go. The client owns the call, which names
// kind, key, method and payload, says whether the method is a query, and how long
// the caller waits (TimeoutMs; 0 means the client's default). A call with a
// Request keeps that number: so is the outcome of an earlier one asked for.
//
// Go starts no goroutine and no timer for the call.
func (c *Client) Go(call *messages.Call, done func(*messages.Reply)) {
	timeout := c.opts.timeout
	if ms := call.GetTimeoutMs(); ms > 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	c.dispatch(c.newOperation(call, timeout, done))
}

// now is the client's clock: nanoseconds since it was made.
func (c *Client) now() int64 { return int64(time.Since(c.epoch)) }

// learnCount takes in how many slices the ring has; it never changes.
func (c *Client) learnCount(count uint32) {
	if count == 0 || c.count.Load() != 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count.Load() != 0 {
		return
	}
	masters := make([]atomic.Pointer[peer], count+1)
	sessions := make([]partitionSession, count+1)
	c.masters.Store(&masters)
	c.sessions.Store(&sessions)
	c.count.Store(count)
	close(c.formed)
}

// learnMaster takes in which node masters a partition.
func (c *Client) learnMaster(partition uint64, nodeID string) {
	masters := c.masters.Load()
	if nodeID == "" || masters == nil || partition >= uint64(len(*masters)) {
		return
	}
	slot := &(*masters)[partition]
	if believed := slot.Load(); believed != nil && believed.id() == nodeID {
		return
	}
	c.mu.Lock()
	p := c.byNode[nodeID]
	c.mu.Unlock()
	if p != nil {
		slot.Store(p)
	}
}

// learnRoute takes in what a node says about the cluster. A node may be behind:
// only what is news from it, or better than nothing, changes what is believed.
func (c *Client) learnRoute(from *peer, route *messages.Route) {
	c.learnMembers(from, route)
	c.learnCount(route.GetPartitionCount())
	masters := c.masters.Load()
	if masters == nil {
		return
	}
	before := from.route
	from.route = route
	for p, node := range route.GetMasters() {
		if p >= len(*masters) {
			break
		}
		believed := (*masters)[p].Load()
		news := before == nil || p >= len(before.GetMasters()) || before.GetMasters()[p] != node
		if news && before != nil || believed == nil || !believed.up() {
			c.learnMaster(uint64(p), node)
		}
	}
}

// learnMembers makes peers of the members of a route and lets those go that are
// none any more, except those that Dial was given.
func (c *Client) learnMembers(from *peer, route *messages.Route) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id := route.GetNodeId(); id != "" && from.id() != id {
		from.nodeID.Store(&id)
		if old := c.byNode[id]; old != nil && old != from && !old.seed {
			c.removeLocked(old)
		}
		c.byNode[id] = from
	}
	for _, m := range route.GetMembers() {
		c.learnMemberLocked(m)
	}
	for _, p := range *c.peers.Load() {
		isMember := slices.ContainsFunc(route.GetMembers(), func(m *messages.Member) bool { return m.GetNodeId() == p.id() })
		if !p.seed && !isMember && !p.up() {
			c.removeLocked(p)
		}
	}
}

// learnMemberLocked makes sure that a member has a peer at its address.
func (c *Client) learnMemberLocked(m *messages.Member) {
	id, address := m.GetNodeId(), m.GetApiAddress()
	if known := c.byNode[id]; known != nil {
		if known.address == address || known.seed || known.up() {
			return
		}
		c.removeLocked(known) // it came back elsewhere
	}
	if id == "" || address == "" {
		return
	}
	for _, p := range *c.peers.Load() {
		if p.address == address && p.id() == "" {
			p.nodeID.Store(&id)
			c.byNode[id] = p
			return
		}
	}
	c.addPeerLocked(address, id, false)
}

// addPeerLocked makes a peer that keeps a link to a node, whose id may be unknown.
func (c *Client) addPeerLocked(address, id string, seed bool) {
	if c.closed {
		return
	}
	p := newPeer(c, address, seed)
	if id != "" {
		p.nodeID.Store(&id)
		c.byNode[id] = p
	}
	peers := append(slices.Clone(*c.peers.Load()), p)
	c.peers.Store(&peers)
	c.running.Go(p.run)
}

func (c *Client) removeLocked(p *peer) {
	p.stop()
	peers := slices.DeleteFunc(slices.Clone(*c.peers.Load()), func(q *peer) bool { return q == p })
	c.peers.Store(&peers)
	if c.byNode[p.id()] == p {
		delete(c.byNode, p.id())
	}
}

// choose gives the peer for the next attempt of a call; nil while none is up.
func (c *Client) choose(op *operation) *peer {
	if masters := c.masters.Load(); masters != nil {
		if p := (*masters)[op.partition].Load(); p != nil && p != op.avoid && p.up() {
			return p
		}
	}
	peers := *c.peers.Load()
	var last *peer
	for i := range peers {
		p := peers[(int(op.partition)+op.attempts+i)%len(peers)]
		if !p.up() {
			continue
		}
		if p != op.avoid {
			return p
		}
		last = p
	}
	return last
}

// partitionOf is the partition of an actor.
func (c *Client) partitionOf(call *messages.Call) uint64 {
	return ring.Partition(call.GetKind(), call.GetKey(), c.count.Load())
}
