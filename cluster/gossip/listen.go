package gossip

import (
	"errors"
	"fmt"
	"log"
	"net"
	"strconv"
	"strings"

	"github.com/hashicorp/memberlist"
)

// logLogger is what memberlist logs to.
type logLogger = *log.Logger

// pickTries bounds the attempts to find one port that is free for both TCP and
// UDP.
const pickTries = 10

// listen opens TCP and UDP on one port.
func listen(bind string, logger logLogger) (*memberlist.NetTransport, error) {
	host, portText, err := net.SplitHostPort(bind)
	if err != nil {
		return nil, fmt.Errorf("%w on %q: it is not host:port; set --gossip-listen: %w", ErrListen, bind, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%w on %q: the port is not a number from 0 to 65535; set --gossip-listen", ErrListen, bind)
	}
	ip := "0.0.0.0"
	if host != "" {
		if ip, err = lookUp(host); err != nil {
			return nil, fmt.Errorf("%w on %s: %w; set --gossip-listen", ErrListen, bind, err)
		}
	}
	tries := 1
	if port == 0 {
		tries = pickTries
	}
	for range tries {
		var t *memberlist.NetTransport
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{ip}, BindPort: int(port), Logger: logger})
		if err == nil {
			return t, nil
		}
	}
	// memberlist hands the cause on as text only.
	if strings.Contains(err.Error(), "address already in use") {
		return nil, fmt.Errorf("%w on %s: another process has this address (TCP or UDP); stop it or choose another with --gossip-listen: %w", ErrListen, bind, err)
	}
	return nil, fmt.Errorf("%w on %s: choose another address with --gossip-listen: %w", ErrListen, bind, err)
}

// advertised returns the address to tell the others.
func advertised(advertise string, t *memberlist.NetTransport) (host string, port int, err error) {
	if advertise == "" {
		ip, port, err := t.FinalAdvertiseAddr("", 0)
		if err == nil && ip.IsUnspecified() {
			err = errors.New("all addresses are listened on")
		}
		if err != nil {
			return "", 0, fmt.Errorf("no address to advertise for gossip: %w; name one with --advertise", err)
		}
		return ip.String(), port, nil
	}
	port = t.GetAutoBindPort()
	host = strings.Trim(advertise, "[]")
	if h, p, err := net.SplitHostPort(advertise); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return "", 0, fmt.Errorf("advertise %q for gossip: the port is not a number from 0 to 65535; set --advertise", advertise)
		}
		if host = h; n != 0 {
			port = int(n)
		}
	}
	ip, err := lookUp(host)
	if err == nil && net.ParseIP(ip).IsUnspecified() {
		err = errors.New("nobody can be reached there")
	}
	if err != nil {
		return "", 0, fmt.Errorf("advertise %q for gossip: %w; set --advertise", advertise, err)
	}
	return ip, port, nil
}

// lookUp returns the first address of a host, IPv4 if there is one.
func lookUp(host string) (string, error) {
	a, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// discard shuts a transport down that memberlist did not take: what it still
// hands out must be drained.
func discard(s *streams) {
	done := make(chan struct{})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for {
			select {
			case <-s.PacketCh():
			case <-done:
				return
			}
		}
	}()
	_ = s.Shutdown() // it never was in use, and the error that led here is told
	close(done)
	<-drained
}
