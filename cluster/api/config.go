package api

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a Server serves and within which limits. Engine is required;
// other zero values mean their defaults.
type Config struct {
	Engine Engine
	// Registry holds the metrics that GET /metrics shows; the server adds its own.
	// Default: a registry with those alone.
	Registry *prometheus.Registry
	// Logger gets a line for each thing a person should look at. Default: discard.
	Logger *slog.Logger
	// TLS secures the port. Default: in the clear.
	TLS *tls.Config
	// Limits bound what one caller can cost.
	Limits Limits
}

// Limits bound what callers can cost the node. Zero means the default.
type Limits struct {
	// BodyBytes bounds the body of a request and the payload of a call; more gets
	// 413. Default 1 MiB: messages of actors are meant to be small, and each one
	// is held in memory and goes through the log.
	BodyBytes int
	// HeaderBytes bounds the headers of a request. Default 64 KiB.
	HeaderBytes int
	// IdempotencyKeyBytes bounds the header of that name. Default 256.
	IdempotencyKeyBytes int
	// HeaderTimeout and BodyTimeout bound how long a request may take to arrive,
	// so that slow senders hold no connections. Defaults 5 s and 20 s.
	HeaderTimeout, BodyTimeout time.Duration
	// IdleTimeout ends connections that ask nothing. Default 2 min.
	IdleTimeout time.Duration
	// CallTimeout is how long a call waits whose caller names no time. Default 5 s.
	CallTimeout time.Duration
	// CallTimeoutMax bounds the time that callers may name. Default 2 min.
	CallTimeoutMax time.Duration
	// StatusTimeout bounds how long probes and status wait for the engine. Default
	// 1 s.
	StatusTimeout time.Duration

	// LinkCalls bounds the calls under way on one link; more get CODE_OVERLOADED.
	// Default 16384: the coordinator's own bound.
	LinkCalls int
	// LinkBytes bounds the payloads under way on one link, likewise. Default 64 MiB.
	LinkBytes int
	// LinkFrameBytes bounds one frame; a larger one ends the link. Default 4 MiB.
	LinkFrameBytes int
	// LinkUnread bounds the replies that wait for a client to read them: above an
	// eighth of it no more calls are taken in, above it the link ends. Default
	// 64 MiB.
	LinkUnread int
	// LinkIdle ends a link on which nothing came for that long; clients send empty
	// frames while they have nothing to say. Default 30 s.
	LinkIdle time.Duration
	// Links bounds the links of the node. Default 4096.
	Links int
}

func (c Config) withDefaults() (Config, error) {
	if c.Engine == nil {
		return c, errors.New("api config: Engine is missing")
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	return c, nil
}

func (l Limits) withDefaults() Limits {
	set(&l.BodyBytes, 1<<20)
	set(&l.HeaderBytes, 64<<10)
	set(&l.IdempotencyKeyBytes, 256)
	set(&l.HeaderTimeout, 5*time.Second)
	set(&l.BodyTimeout, 20*time.Second)
	set(&l.IdleTimeout, 2*time.Minute)
	set(&l.CallTimeout, 5*time.Second)
	set(&l.CallTimeoutMax, 2*time.Minute)
	set(&l.StatusTimeout, time.Second)
	set(&l.LinkCalls, 16384)
	set(&l.LinkBytes, 64<<20)
	set(&l.LinkFrameBytes, 4<<20)
	set(&l.LinkUnread, 64<<20)
	set(&l.LinkIdle, 30*time.Second)
	set(&l.Links, 4096)
	return l
}

func set[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
