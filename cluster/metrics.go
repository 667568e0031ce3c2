package cluster

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-49de4af9/ringmaster/cluster/gossip"
	"github.com/seed-49de4af9/ringmaster/cluster/storage"
	"github.com/seed-49de4af9/ringmaster/cluster/transport"
)

// collector shows what the parts of a node counted, at the moment somebody looks.
type collector struct {
	store  *storage.Store
	links  *transport.Transport
	gossip *gossip.Gossip
	build  prometheus.Metric

	fsync, commit, batch         *prometheus.Desc
	bytes, logBytes, writes      *prometheus.Desc
	pressure                     *prometheus.Desc
	members, health, linked      *prometheus.Desc
	sent, sentBytes, received    *prometheus.Desc
	queued, dropped, linkRefused *prometheus.Desc
}

func newCollector(n *Node) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("ringmaster_"+name, help, labels, nil)
	}
	return &collector{
		store: n.store, links: n.links, gossip: n.gossip,
		build: prometheus.MustNewConstMetric(
			desc("build_info", "Always 1; the labels say what runs.", "version", "go"),
			prometheus.GaugeValue, 1, n.cfg.Version, runtime.Version()),

		fsync:    desc("fsync_duration_seconds", "Time of the fsyncs of the node's write-ahead log."),
		commit:   desc("commit_duration_seconds", "Time from taking a group of writes until it was durable."),
		batch:    desc("fsync_batch_writes", "Writes, of all partitions, that shared a batch."),
		bytes:    desc("storage_bytes", "Size of the store: its files, recent writes in memory, and writes that wait.", "type"),
		logBytes: desc("storage_log_bytes_total", "Bytes written to the write-ahead log."),
		writes:   desc("storage_writes_total", "Writes committed, each one whole or not at all."),
		pressure: desc("storage_queue_ratio", "How full the queue of writes is; 1 is its limit."),

		members: desc("members", "Members as gossip sees them.", "state"),
		health:  desc("gossip_health_score", "How well gossip keeps up; 0 is best."),

		linked:      desc("links", "Other nodes, by the state of the link to them.", "state"),
		sent:        desc("link_sent_total", "Messages sent to other nodes.", "lane"),
		sentBytes:   desc("link_sent_bytes_total", "Bytes sent to other nodes.", "lane"),
		received:    desc("link_received_total", "Messages received from other nodes."),
		queued:      desc("link_queued_bytes", "Bytes that wait for the links to other nodes.", "lane"),
		dropped:     desc("dead_letters_total", "Messages to other nodes that were dropped.", "reason"),
		linkRefused: desc("link_refused_total", "Connections of other nodes that were refused."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- c.build
	c.collectStore(ch)
	c.collectGossip(ch)
	c.collectLinks(ch)
}

func (c *collector) collectStore(ch chan<- prometheus.Metric) {
	m := c.store.Metrics()
	ch <- constHistogram(c.fsync, m.SyncSeconds)
	ch <- constHistogram(c.commit, m.CommitSeconds)
	ch <- constHistogram(c.batch, m.GroupWrites)
	ch <- gaugeOf(c.bytes, float64(m.DiskBytes), "disk")
	ch <- gaugeOf(c.bytes, float64(m.MemTableBytes), "memtable")
	ch <- gaugeOf(c.bytes, float64(m.QueueBytes), "queue")
	ch <- counterOf(c.logBytes, m.LogBytes)
	ch <- counterOf(c.writes, m.Writes)
	ch <- gaugeOf(c.pressure, c.store.Pressure())
}

func (c *collector) collectGossip(ch chan<- prometheus.Metric) {
	count := map[gossip.State]int{}
	for _, m := range c.gossip.Members() {
		count[m.State]++
	}
	for _, state := range []gossip.State{gossip.Alive, gossip.Failed, gossip.Left} {
		ch <- gaugeOf(c.members, float64(count[state]), state.String())
	}
	ch <- gaugeOf(c.health, float64(c.gossip.Health()))
}

func (c *collector) collectLinks(ch chan<- prometheus.Metric) {
	lanes := []transport.Lane{transport.Fast, transport.Bulk}
	var up, down, received uint64
	var sent, bytes, queued [2]uint64
	dropped := map[transport.Reason]uint64{}
	for _, p := range c.links.Peers() {
		if p.Up {
			up++
		} else if p.Known {
			down++
		}
		received += p.Received
		for i, lane := range lanes {
			sent[i] += p.Sent[lane]
			bytes[i] += p.SentBytes[lane]
			queued[i] += p.Queued[lane]
		}
		for reason, n := range p.Dropped {
			dropped[reason] += n
		}
	}
	ch <- gaugeOf(c.linked, float64(up), "up")
	ch <- gaugeOf(c.linked, float64(down), "down")
	ch <- counterOf(c.received, received)
	for i, lane := range lanes {
		ch <- counterOf(c.sent, sent[i], lane.String())
		ch <- counterOf(c.sentBytes, bytes[i], lane.String())
		ch <- gaugeOf(c.queued, float64(queued[i]), lane.String())
	}
	for reason, n := range dropped {
		ch <- counterOf(c.dropped, n, strings.ReplaceAll(reason.String(), " ", "_"))
	}
	ch <- counterOf(c.linkRefused, c.links.Stats().Refused)
}

func gaugeOf(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func counterOf(desc *prometheus.Desc, value uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
}

func constHistogram(desc *prometheus.Desc, h storage.Histogram) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Bounds))
	for i, bound := range h.Bounds {
		buckets[bound] = h.Counts[i]
	}
	return prometheus.MustNewConstHistogram(desc, h.Count, h.Sum, buckets)
}
