package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// memberlistLog turns memberlist's lines into ours. Its errors become warnings
// and all else detail: what matters to a person comes as an Event.
type memberlistLog struct {
	logger  *slog.Logger
	muffler *muffler
}

func (l memberlistLog) asLogger() *log.Logger { return log.New(l, "", 0) }

// Write implements io.Writer; each call is one line.
func (l memberlistLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if strings.HasPrefix(text, "[ERR") {
		level = slog.LevelWarn
	}
	if !l.logger.Enabled(context.Background(), level) {
		return len(line), nil
	}
	if _, rest, ok := strings.Cut(text, "] "); ok {
		text = rest
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	if level == slog.LevelDebug || l.muffler.first(text[:min(len(text), 40)]) {
		l.logger.Log(context.Background(), level, "memberlist", "line", text)
	}
	return len(line), nil
}

// muffler lets each complaint through once in a while.
type muffler struct {
	mu   sync.Mutex
	said map[string]time.Time
}

const (
	mufflerPause = 10 * time.Second
	mufflerMax   = 256
)

func (m *muffler) first(complaint string) bool {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.said[complaint]; ok && now.Sub(at) < mufflerPause {
		return false
	}
	if m.said == nil || len(m.said) >= mufflerMax {
		m.said = make(map[string]time.Time)
	}
	m.said[complaint] = now
	return true
}
