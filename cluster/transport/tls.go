package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Both ends of a link show a certificate. The chain is verified during the TLS
// handshake, against TLS.RootCAs; whose certificate it is, right after the
// hellos, against the node id that the other side claims. A certificate is not
// tied to a host name, because a node keeps its id when its address changes.

func (t *Transport) clientTLS() *tls.Config {
	c := t.config.TLS.Clone()
	c.MinVersion = tls.VersionTLS13
	// Host names say nothing here; verifyChain does what this turns off.
	c.InsecureSkipVerify = true
	c.VerifyConnection = verifyChain(c.RootCAs, x509.ExtKeyUsageServerAuth)
	return c
}

func (t *Transport) serverTLS() *tls.Config {
	c := t.config.TLS.Clone()
	c.MinVersion = tls.VersionTLS13
	c.ClientAuth = tls.RequireAnyClientCert
	c.SessionTicketsDisabled = true
	c.VerifyConnection = verifyChain(c.RootCAs, x509.ExtKeyUsageClientAuth)
	return c
}

func verifyChain(roots *x509.CertPool, usage x509.ExtKeyUsage) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the other node shows no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots:         roots,
			Intermediates: between,
			KeyUsages:     []x509.ExtKeyUsage{usage},
		})
		return err
	}
}

// verifyNodeID is the default of Config.VerifyPeer.
func verifyNodeID(cert *x509.Certificate, nodeID, _ string) error {
	return cert.VerifyHostname(nodeID)
}

// checkCertificate says whether the connection's certificate belongs to the node
// that speaks on it.
func (t *Transport) checkCertificate(conn net.Conn, h *messages.LinkHello) *refusal {
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	// verifyChain saw to it that there is a certificate.
	cert := c.ConnectionState().PeerCertificates[0]
	if err := t.config.VerifyPeer(cert, h.GetNodeId(), h.GetName()); err != nil {
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_CERTIFICATE,
			"the certificate is not that of node %s: %v; issue one for this node id", label(h), err)
	}
	return nil
}

// plainOrTLS wraps a raw connection as the config says.
func (t *Transport) plainOrTLS(conn net.Conn, dialed bool) (net.Conn, error) {
	if t.config.TLS == nil {
		return conn, nil
	}
	var c *tls.Conn
	if dialed {
		c = tls.Client(conn, t.clientConfig)
	} else {
		c = tls.Server(conn, t.serverConfig)
	}
	if err := c.Handshake(); err != nil {
		return nil, asCertificateRefusal(fmt.Errorf("TLS handshake: %w", err))
	}
	return c, nil
}

// asCertificateRefusal tells trouble with certificates, which a person should
// know, from connections that just ended.
func asCertificateRefusal(err error) error {
	var timeout net.Error
	gone := errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) ||
		errors.As(err, &timeout) && timeout.Timeout()
	if gone {
		return err
	}
	return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_CERTIFICATE,
		"%v; both nodes need a certificate of the same authority, for servers and clients, that bears their node id", err)
}
