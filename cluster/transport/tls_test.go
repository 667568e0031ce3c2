package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// authority issues certificates for one test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(template, template, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert = cert
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// config returns what a node with this id is configured with.
func (a *authority) config(nodeID string, change ...func(*x509.Certificate)) *tls.Config {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{nodeID},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, f := range change {
		f(template)
	}
	der, key := a.sign(template, a.cert, a.key)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func withTLS(c *tls.Config) func(*Config) { return func(config *Config) { config.TLS = c } }

func TestTLS(t *testing.T) {
	b, a := newBook(), newAuthority(t)
	one := startNode(t, b, "one", withTLS(a.config("one")))
	two := startNode(t, b, "two", withTLS(a.config("two")))
	const count = 100
	for i := range count {
		one.send("two", "inbox", &messages.RaftBatch{Frames: make([]byte, i<<10)})
	}
	for i := range count {
		if g := receive(t, two.inbox, "batch"); len(g.message.(*messages.RaftBatch).GetFrames()) != i<<10 {
			t.Fatal("out of order")
		}
	}
	one.wantNotice(t, "two", true)
	two.wantNotice(t, "one", true)
}

func TestWrongCertificates(t *testing.T) {
	a := newAuthority(t)
	tests := []struct {
		name string
		tls  *tls.Config
		// told: the other node can say what is wrong.
		told bool
	}{
		{"other authority", newAuthority(t).config("two"), true},
		{"other node", a.config("three"), true},
		{"expired", a.config("two", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), true},
		{"client only", a.config("two", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), true},
		{"server only", a.config("two", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), true},
		{"none", nil, false},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBook()
			one := startNode(t, b, "one", withTLS(a.config("one")))
			two := startNode(t, b, "two", withTLS(test.tls))
			// Each side tries the other one; neither gets through in any lane.
			one.send("two", "inbox", &messages.Call{})
			two.send("one", "inbox", &messages.Call{})
			switch test.name {
			case "client only":
				// As a client it is fine; nobody ever gets through to it.
				one.wantNotice(t, "two", false)
			case "server only":
				two.wantNotice(t, "one", false)
			default:
				one.wantNotice(t, "two", false)
				two.wantNotice(t, "one", false)
				if len(one.inbox)+len(two.inbox) > 0 {
					t.Error("a message arrived")
				}
			}
			if test.told {
				e := await(t, one.refused, fmt.Sprintf("refusal %d", i), func(e *HandshakeError) bool { return e.Code == codeCertificate })
				t.Log(e)
			}
		})
	}
}

func TestCertificateForTheName(t *testing.T) {
	b, a := newBook(), newAuthority(t)
	byName := func(name string) func(*Config) {
		return func(c *Config) {
			c.Name, c.TLS = name, a.config(name)
			c.VerifyPeer = func(cert *x509.Certificate, _, name string) error { return cert.VerifyHostname(name) }
		}
	}
	one, two := startNode(t, b, "one", byName("node-1")), startNode(t, b, "two", byName("node-2"))
	one.send("two", "inbox", &messages.Call{})
	receive(t, two.inbox, "call")
}
