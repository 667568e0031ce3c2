// Package node assembles the actors of one node: replicas, coordinators, the
// ring owner and the inboxes that serve other nodes. It is the seam between the
// engine, which knows only mailboxes, and the world, real or simulated, which
// brings disk, network, clock and chance through the ports in Config.
package node
