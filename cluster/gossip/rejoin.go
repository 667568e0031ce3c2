package gossip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"
)

// joinsMax bounds the addresses tried in one round; the others' turn comes.
const joinsMax = 8

// look tries missing members, and settles conflicts, again and again.
func (g *Gossip) look() {
	met := false
	for g.ctx.Err() == nil {
		g.settle()
		targets := g.missing()
		rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
		for _, address := range targets[:min(len(targets), joinsMax)] {
			if g.ctx.Err() == nil && g.tryJoin(address) {
				met = true
			}
		}
		interval := g.config.RejoinInterval
		if !met {
			interval /= 5
		}
		g.rest(interval*4/5 + rand.N(interval*2/5+1))
		g.mu.Lock()
		g.directory.prune()
		g.mu.Unlock()
	}
}

func (g *Gossip) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.rejoin:
	case <-g.ctx.Done():
	}
}

// lookNow ends the rest of look.
func (g *Gossip) lookNow() {
	select {
	case g.rejoin <- struct{}{}:
	default:
	}
}

// Join adds addresses, host:port, of nodes to look for.
func (g *Gossip) Join(addresses ...string) error {
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("join %q: it is not host:port: %w", a, err)
		}
	}
	g.mu.Lock()
	for _, a := range addresses {
		if !slices.Contains(g.join, a) {
			g.join = append(slices.Clip(g.join), a)
		}
	}
	g.mu.Unlock()
	g.lookNow()
	return nil
}

// Problems returns why the addresses that could not be joined could not, at the
// newest attempt.
func (g *Gossip) Problems() map[string]error {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[string]error, len(g.problems))
	maps.Copy(all, g.problems)
	return all
}

// missing returns the addresses, as ip:port, where no alive member is but one
// should be: those to join, members known from elsewhere, and failed ones.
func (g *Gossip) missing() []string {
	here, wanted := g.wanted()
	missing := map[string]bool{}
	for address := range wanted {
		found, err := g.resolve(address)
		if err != nil {
			g.note(address, fmt.Errorf("join %s: %w", address, err))
			continue
		}
		// A host with many addresses is found as soon as one member is: the others
		// are known through it, or are other faces of the same one.
		if slices.ContainsFunc(found, func(a string) bool { return here[a] }) {
			for _, a := range append(found, address) {
				g.note(a, nil)
			}
			continue
		}
		for _, a := range found {
			missing[a] = true
		}
	}
	return slices.Sorted(maps.Keys(missing))
}

// wanted returns where alive members are, and where some should be.
func (g *Gossip) wanted() (here, wanted map[string]bool) {
	known := g.config.Known()
	g.mu.Lock()
	defer g.mu.Unlock()
	here, wanted = map[string]bool{}, map[string]bool{}
	if g.directory.self.leaving {
		return here, wanted
	}
	alive := map[string]bool{}
	for _, m := range g.directory.list() {
		switch m.State {
		case Alive:
			here[m.GossipAddress], alive[m.NodeID] = true, true
		case Failed:
			wanted[m.GossipAddress] = true
		}
	}
	for _, k := range known {
		if !alive[k.NodeID] && k.GossipAddress != "" {
			wanted[k.GossipAddress] = true
		}
	}
	for _, address := range g.join {
		wanted[address] = true
	}
	return here, wanted
}

// resolve returns the addresses of host:port as ip:port.
func (g *Gossip) resolve(address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) != nil {
		return []string{address}, nil
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.config.StreamTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, err
	}
	for i, ip := range ips {
		ips[i] = net.JoinHostPort(ip, strconv.Itoa(number))
	}
	return ips, nil
}

// tryJoin exchanges all state with whoever is at an address.
func (g *Gossip) tryJoin(address string) bool {
	_, err := g.list.Join([]string{address})
	if cause := g.streams.dialError(address); err != nil && cause != nil {
		err = cause
	}
	if errors.Is(err, errSelf) {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("join %s: %w", address, err)
	}
	g.note(address, err)
	return err == nil
}

// note remembers how it went with an address, and tells what is new.
func (g *Gossip) note(address string, err error) {
	g.mu.Lock()
	before := g.problems[address]
	if err == nil {
		delete(g.problems, address)
	} else {
		g.problems[address] = err
	}
	g.mu.Unlock()
	if err == nil || g.ctx.Err() != nil || before != nil && before.Error() == err.Error() {
		return
	}
	if errors.Is(err, ErrKeyMismatch) || errors.Is(err, ErrOtherCluster) {
		g.mailbox.put(notice{kind: noticeTrouble, err: err})
		return
	}
	g.config.Logger.Info("a node is not reached yet; trying again", "address", address, "cause", err)
}
