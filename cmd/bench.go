package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/cluster"
)

// benchConfig is what the flags of bench say.
type benchConfig struct {
	remote     remote
	out        output
	workload   string
	clients    int
	duration   time.Duration
	warmup     time.Duration
	keys       int
	valueBytes int
}

// Bounds of a bench.
const (
	benchClientsMax    = 100_000
	benchKeysMax       = 10_000_000
	benchValueBytesMax = 512 << 10
)

// benchReport is what bench found.
type benchReport struct {
	Workload   string  `json:"workload"`
	Clients    int     `json:"clients"`
	Keys       int     `json:"keys"`
	ValueBytes int     `json:"value_bytes"`
	DurationS  float64 `json:"duration_s"`

	OpsPerS float64 `json:"ops_per_s"`
	P50Ms   float64 `json:"p50_ms"`
	P99Ms   float64 `json:"p99_ms"`
	P999Ms  float64 `json:"p999_ms"`
	MaxMs   float64 `json:"max_ms"`
	// MaxGapMs is the longest time during which a key had a call waiting and none
	// of its calls succeeded.
	MaxGapMs float64 `json:"max_gap_ms"`

	// Acknowledged counts the commands that succeeded, warm-up included; Unknown
	// those whose outcome the client does not know; Errors all that did not
	// succeed, Unknown included.
	Acknowledged int64  `json:"acknowledged"`
	Unknown      int64  `json:"unknown"`
	Errors       int64  `json:"errors"`
	ErrorSample  string `json:"error_sample,omitempty"`
	// Lost counts acknowledged commands whose effect is not there, Duplicated
	// effects that no command accounts for.
	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
	// Verified counts the keys that were read back; Unread those that could not be.
	Verified int `json:"verified"`
	Unread   int `json:"unread"`

	// ClientCPUS is the processor time of this process during the measurement, and
	// ClientCPUUsPerOp that for each command, in microseconds.
	ClientCPUS       float64 `json:"client_cpu_s"`
	ClientCPUUsPerOp float64 `json:"client_cpu_us_per_op"`
}

func (a *app) benchCommand() *cobra.Command {
	var b benchConfig
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster, and verify what was written",
		Long: `Keeps a number of commands under way for a while, then reads back every key
it wrote: a counter must be what was acknowledged, plus at most what is
unknown; a register must hold its last acknowledged value, or one whose
outcome is unknown. Exits with 8 if something was lost or happened twice.`,
		Example: `  ringmaster bench --duration 10s
  ringmaster bench --addr 10.0.0.5:7420,10.0.0.6:7420 --workload register \
    --clients 1024 --duration 30s -o json`,
		Args: between(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return a.bench(c.Context(), &b) },
	}
	b.remote.flags(c, 30*time.Second, "how long one command may take, retries included")
	b.out.flags(c)
	f := c.Flags()
	f.StringVar(&b.workload, "workload", "register", "counter: Add 1; register: Write a value")
	f.IntVar(&b.clients, "clients", 64, "callers, each of which waits for its reply")
	f.DurationVar(&b.duration, "duration", 10*time.Second, "how long to measure")
	f.DurationVar(&b.warmup, "warmup", time.Second, "how long to run before measuring")
	f.IntVar(&b.keys, "keys", 10_000, "how many actors to spread the commands over")
	f.IntVar(&b.valueBytes, "value-bytes", 64, "size of a register's value")
	_ = c.RegisterFlagCompletionFunc("workload", cobra.FixedCompletions([]string{"counter", "register"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (b *benchConfig) check() error {
	if err := b.out.check(); err != nil {
		return err
	}
	for _, r := range []struct {
		flag               string
		value, least, most int
	}{
		{"--clients", b.clients, 1, benchClientsMax},
		{"--keys", b.keys, 1, benchKeysMax},
		{"--value-bytes", b.valueBytes, valueBytesMin, benchValueBytesMax},
	} {
		if r.value < r.least || r.value > r.most {
			return exitf(ExitUsage, "%s is %d; it must be between %d and %d", r.flag, r.value, r.least, r.most)
		}
	}
	if b.duration <= 0 || b.warmup < 0 || b.remote.timeout < time.Millisecond {
		return exitf(ExitUsage, "--duration and --timeout must be positive, and --warmup not negative")
	}
	return nil
}

func (a *app) bench(ctx context.Context, b *benchConfig) error {
	if err := b.check(); err != nil {
		return err
	}
	load, err := a.newWorkload(b)
	if err != nil {
		return err
	}
	tls, err := b.remote.tlsConfig()
	if err != nil {
		return err
	}
	opts := []cluster.ClientOption{cluster.WithCallTimeout(b.remote.timeout)}
	if tls != nil {
		opts = append(opts, cluster.WithClientTLS(tls))
	}
	dialing, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	client, err := cluster.Dial(dialing, b.remote.addrs, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	a.say("%s: %d callers on %d keys for %v, after %v of warm-up", b.workload, b.clients, b.keys, b.duration, b.warmup)
	run := newBenchRun(b, load, client)
	report := run.measure(ctx)
	a.say("reading %d keys back", len(run.keys))
	run.verify(context.WithoutCancel(ctx), report)
	if err := a.print(&b.out, report, report.text, func() []string { return []string{b.workload} }); err != nil {
		return err
	}
	switch {
	case report.Lost > 0 || report.Duplicated > 0:
		return exitf(ExitCheck, "%d acknowledged commands were lost, %d happened twice", report.Lost, report.Duplicated)
	case report.Unread > 0:
		return exitf(ExitUnavailable, "%d keys could not be read back", report.Unread)
	case report.Acknowledged == 0:
		return exitf(ExitUnavailable, "no command succeeded: %s", report.ErrorSample)
	}
	return nil
}

// dialWait is how long the first contact with the cluster may take.
const dialWait = 10 * time.Second

func (r *benchReport) text(p *page) {
	p.linef("%s   %d callers   %d keys   %.1f s", r.Workload, r.Clients, r.Keys, r.DurationS)
	p.linef("  throughput  %s ops/s", thousands(int64(r.OpsPerS)))
	p.linef("  latency     p50 %.2f ms   p99 %.2f ms   p99.9 %.2f ms   max %.1f ms", r.P50Ms, r.P99Ms, r.P999Ms, r.MaxMs)
	p.linef("  gap         %.0f ms, the longest that a key had to wait", r.MaxGapMs)
	p.linef("  outcome     %s acknowledged   %d errors   %d of them unknown", thousands(r.Acknowledged), r.Errors, r.Unknown)
	verdict := p.app.paint(p.app.streams.Out, green, "every acknowledged command is there, none twice")
	if r.Lost > 0 || r.Duplicated > 0 {
		verdict = p.app.paint(p.app.streams.Out, red, fmt.Sprintf("LOST %d   DUPLICATED %d", r.Lost, r.Duplicated))
	}
	p.linef("  verified    %s keys: %s", thousands(int64(r.Verified)), verdict)
	p.linef("  client      %.1f us of processor time for each command", r.ClientCPUUsPerOp)
	if r.ErrorSample != "" {
		p.linef("  an error    %s", r.ErrorSample)
	}
}

// thousands writes a number in groups of three digits.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	var parts []string
	for len(text) > 3 {
		parts = append([]string{text[len(text)-3:]}, parts...)
		text = text[:len(text)-3]
	}
	return strings.Join(append([]string{text}, parts...), " ")
}
