// Package transport carries messages between the actors of different nodes.
//
// It stands behind protoactor's address resolver: a PID whose address is another
// node's id resolves to a [Transport] peer, so that an actor sends to a remote
// PID as it sends to a local one. The promise is at most once and in order for
// each pair of target and lane, nothing more: what is queued when a link breaks
// is dropped and counted. Whoever needs an answer numbers its request and tries
// again.
//
// # A message's way
//
// The sender's own goroutine marshals the message behind a small envelope into a
// chunk of the lane's queue. One writer for each lane takes all chunks that are
// there and writes them with one system call. The reader at the other end decodes
// allow-listed types only, and posts to allow-listed actors only. Stop, Watch and
// the other system messages never cross the network.
//
// # Links
//
// Whoever sends dials: a link from A to B is A's connection to B, one for each
// [Lane], and B's link to A is another. A lane opens at the first message (or
// [Transport.Connect]) and is kept open with capped, jittered retries until
// [Transport.Forget]. The fast lane's state is the peer's state: [Config.Notify]
// hears of each change once.
//
// A peer is down when its connection breaks and an immediate second dial fails,
// or when it acknowledged nothing for [Config.Silence]. While a peer is down
// messages to it are dropped at once: a held-back message would be stale.
//
// # Trust
//
// A payload cannot name a party other than its sender: the sender's address is
// the node id of the connection. With [Config.TLS] the connection's certificate
// must bear that node id; without it anybody who reaches the port is believed,
// which is for loopback only.
package transport
