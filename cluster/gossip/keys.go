package gossip

import (
	"errors"
	"fmt"
)

// Keys are rotated without a pause: AddKey on all nodes, then UseKey on all, then
// RemoveKey on all. What has no key at the start stays without.

var errNoKeys = errors.New("gossip is not encrypted; restart all nodes with --gossip-key")

// AddKey makes a key known, of 16, 24 or 32 bytes: what comes in may use it.
func (g *Gossip) AddKey(key []byte) error {
	if g.keyring == nil {
		return errNoKeys
	}
	if err := g.keyring.AddKey(key); err != nil {
		return fmt.Errorf("add a gossip key: %w", err)
	}
	return nil
}

// UseKey encrypts with a known key from now on.
func (g *Gossip) UseKey(key []byte) error {
	if g.keyring == nil {
		return errNoKeys
	}
	if err := g.keyring.UseKey(key); err != nil {
		return fmt.Errorf("use a gossip key: %w; add it first", err)
	}
	return nil
}

// RemoveKey forgets a key that is not in use.
func (g *Gossip) RemoveKey(key []byte) error {
	if g.keyring == nil {
		return errNoKeys
	}
	if err := g.keyring.RemoveKey(key); err != nil {
		return fmt.Errorf("remove a gossip key: %w; use another one first", err)
	}
	return nil
}
