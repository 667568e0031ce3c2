// Package api is what clients speak to a node, all on one port: HTTP with JSON,
// Connect and gRPC (HTTP/1.1, HTTP/2 with and without TLS), links for clients
// that send many calls, health, metrics, and the node's own view of the cluster.
//
// # Actors
//
// POST /v1/actors/{kind}/{key}/{method} takes the request message in protobuf's
// JSON form, whatever the Content-Type, and answers 200 with the reply message:
// zero values included, 64-bit integers as strings. Percent-encode the parts of
// the path. Request headers: Idempotency-Key runs a command at most once,
// whichever node is asked and how often; Request-Timeout says how long the caller
// waits ("1.5s"). Reply headers: Actor-Node, Actor-Partition, Actor-Term,
// Actor-Index, Actor-Replayed.
//
// Everything that is not 200 is {"code","message",...}; see [Problem].
//
// # Links
//
// GET /v1/link with "Upgrade: ringmaster-link/1" turns a connection of HTTP/1.1
// into a link: frames of CallBatch one way and of ReplyBatch the other. See
// [AppendFrame] for the format and [LinkReader] for the other direction.
package api
