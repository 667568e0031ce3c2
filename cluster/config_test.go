package cluster

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

func TestZeroConfigIsOneNodeOnLoopback(t *testing.T) {
	c, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:7420" || c.PeerListen != "127.0.0.1:7421" || c.GossipListen != "127.0.0.1:7422" {
		t.Errorf("listens on %s, %s, %s", c.Listen, c.PeerListen, c.GossipListen)
	}
	if c.Expect != 1 || c.Partitions != 64 || c.Replicas != 3 || c.DrainTimeout != 30*time.Second {
		t.Errorf("Expect %d, Partitions %d, Replicas %d, DrainTimeout %v", c.Expect, c.Partitions, c.Replicas, c.DrainTimeout)
	}
	joining, err := Config{Join: []string{"127.0.0.1:7422"}, Listen: "[::1]:0"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if joining.Expect != 0 || joining.PeerListen != "[::1]:7421" {
		t.Errorf("a node that joins: Expect %d, PeerListen %s; want 0, so that it never begins a cluster of its own, and [::1]:7421",
			joining.Expect, joining.PeerListen)
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	secret := &tls.Config{MinVersion: tls.VersionTLS13}
	key := [][]byte{make([]byte, 32)}
	for _, test := range []struct {
		name string
		cfg  Config
		want string // "" is fine
	}{
		{"no port", Config{Listen: "localhost"}, "--listen"},
		{"port too large", Config{PeerListen: "127.0.0.1:70000"}, "--peer-listen"},
		{"port with a name", Config{GossipListen: "127.0.0.1:http"}, "--gossip-listen"},
		{"all addresses in the clear", Config{Listen: ":7420"}, "--certs-dir"},
		{"another address in the clear", Config{Listen: "10.0.0.1:7420"}, "--insecure"},
		{"links in the clear", Config{PeerListen: "10.0.0.1:7421"}, "PeerTLS"},
		{"gossip in the clear", Config{GossipListen: "0.0.0.0:7422"}, "GossipKeys"},
		{"said in words", Config{Listen: ":7420", Insecure: true}, ""},
		{"secured", Config{Listen: ":7420", APITLS: secret, PeerTLS: secret, GossipKeys: key}, ""},
		{"half secured", Config{Listen: ":7420", APITLS: secret, PeerTLS: secret}, "--gossip-listen"},
		{"names of loopback", Config{Listen: "localhost:1", PeerListen: "[::1]:2", GossipListen: "127.1.2.3:3"}, ""},
		{"too many partitions", Config{Partitions: 5000}, "--partitions"},
		{"negative copies", Config{Replicas: -1}, "--replicas"},
		{"negative expect", Config{Expect: -1}, "--expect"},
		{"slow clock", Config{TickInterval: time.Minute}, "TickInterval"},
		{"negative time", Config{DrainTimeout: -1}, "--drain-timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.cfg.withDefaults()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case test.want != "" && err == nil:
				t.Errorf("got no error, want one that names %s", test.want)
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, want it to name %s", err, test.want)
			}
		})
	}
}
