package cluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key, a.cert = a.issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authority) issue(template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

// node returns a node's certificate and whom it trusts.
func (a *authority) node(name string) *tls.Config {
	key, cert := a.issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
	}
}

func TestCertificateSpeaksForOneNode(t *testing.T) {
	table := &messages.Table{Members: []*messages.Member{{NodeId: "A", Name: "ada"}, {NodeId: "B", Name: "bob"}}}
	for _, test := range []struct {
		about        string
		table        *messages.Table
		nodeID, name string
		fits         bool
	}{
		{"a member", table, "A", "ada", true},
		{"a member under the name of another", table, "B", "ada", false},
		{"a stranger under the name of a member", table, "C", "ada", false},
		{"a newcomer", table, "C", "cyd", true},
		{"before there is a table", nil, "B", "ada", true},
	} {
		if err := nameFits(test.table, test.nodeID, test.name); (err == nil) != test.fits {
			t.Errorf("%s: got %v, want it accepted: %t", test.about, err, test.fits)
		}
	}
	_, cert := newAuthority(t).issue(&x509.Certificate{SerialNumber: big.NewInt(3), DNSNames: []string{"ada", "B"}})
	n := startNode(t, testConfig(t))
	await(t, "the node to be ready", n.Ready())
	for _, test := range []struct {
		about, nodeID, name string
		fits                bool
	}{
		{"by name", "A", "ada", true},
		{"by id", "B", "bob", true},
		{"neither", "C", "cyd", false},
	} {
		if err := n.verifyPeer(cert, test.nodeID, test.name); (err == nil) != test.fits {
			t.Errorf("a certificate for the name ada and the id B, %s: got %v, want it accepted: %t", test.about, err, test.fits)
		}
	}
	_, stolen := newAuthority(t).issue(&x509.Certificate{SerialNumber: big.NewInt(4), DNSNames: []string{n.Name()}})
	if err := n.verifyPeer(stolen, "B", n.Name()); err == nil {
		t.Error("a certificate for this node's name was accepted from another node id")
	}
}

func TestSecuredNodesFormAClusterWithEachOtherOnly(t *testing.T) {
	ca := newAuthority(t)
	secured := func(name string, ca *authority) Config {
		cfg := testConfig(t)
		cfg.Name, cfg.Expect = name, 2
		cfg.PeerTLS, cfg.APITLS = ca.node(name), ca.node(name)
		cfg.GossipKeys = [][]byte{bytes.Repeat([]byte{7}, 32)}
		return cfg
	}
	ada := startNode(t, secured("ada", ca))
	second := secured("bob", ca)
	second.Join = []string{ada.GossipAddr()}
	bob := startNode(t, second)
	await(t, "ada to be ready", ada.Ready())
	await(t, "bob to be ready", bob.Ready())
	trusted := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: second.APITLS.RootCAs}
	client, err := Dial(t.Context(), []string{bob.Addr()}, WithClientTLS(trusted))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	got, err := counter.Add.Call(t.Context(), client, "page", &counterpb.AddRequest{Delta: 5})
	if err != nil || got.GetValue() != 5 {
		t.Errorf("Add over TLS: %v, %v", got, err)
	}

	// It has the key to gossip, but its certificate is of another authority: it is
	// seen, and cannot take part.
	stranger := secured("eve", newAuthority(t))
	stranger.Join, stranger.Expect = second.Join, 0
	eve := startNode(t, stranger)
	deadline := time.Now().Add(patience)
	for refused := false; !refused; {
		if time.Now().After(deadline) {
			t.Fatal("nobody refused the stranger")
		}
		for _, p := range eve.links.Peers() {
			refused = refused || p.Known && !p.Up && p.Err != nil && p.NodeID == ada.ID()
		}
		runtime.Gosched()
	}
	for _, p := range append(ada.links.Peers(), bob.links.Peers()...) {
		if p.NodeID == eve.ID() && p.Up {
			t.Errorf("there is a link to a node with a certificate of another authority")
		}
	}
	if eve.engine.Table() != nil {
		t.Errorf("a node with a certificate of another authority was given the ring's table")
	}
}
