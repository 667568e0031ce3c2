package cluster

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens one of the node's ports.
func listen(l listener) (net.Listener, error) {
	opened, err := net.Listen("tcp", l.address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s (%s) %s: another process has this address; stop it or choose another address with %s: %w",
			l.field, l.flag, l.address, l.flag, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s (%s) %s: choose an address of this machine with %s: %w", l.field, l.flag, l.address, l.flag, err)
	}
	return opened, nil
}

// advertised returns the host:port that others reach an open port at.
func advertised(advertise string, bound net.Addr) (string, error) {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("advertise %s: %w", bound, err)
	}
	if advertise != "" {
		return net.JoinHostPort(advertise, port), nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return bound.String(), nil
	}
	ip, err := firstAddress()
	if err != nil {
		return "", fmt.Errorf("Advertise (--advertise) must name this machine, as the node listens on all its addresses: %w", err)
	}
	return net.JoinHostPort(ip.String(), port), nil
}

// firstAddress returns the machine's first address that is not loopback, IPv4 if
// there is one.
func firstAddress() (net.IP, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var found net.IP
	for _, a := range addresses {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			return n.IP, nil
		}
		if found == nil {
			found = n.IP
		}
	}
	if found == nil {
		return nil, errors.New("the machine has no address but loopback")
	}
	return found, nil
}
