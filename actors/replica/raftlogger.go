package replica

import (
	"fmt"
	"log/slog"
)

// raftLogger passes raft's words on: its everyday talk at debug level.
type raftLogger struct{ l *slog.Logger }

func (r raftLogger) Debug(v ...any)        {}
func (r raftLogger) Debugf(string, ...any) {}
func (r raftLogger) Info(v ...any)         {}
func (r raftLogger) Infof(string, ...any)  {}
func (r raftLogger) Warning(v ...any)      { r.l.Debug("raft", "message", fmt.Sprint(v...)) }
func (r raftLogger) Warningf(f string, v ...any) {
	r.l.Debug("raft", "message", fmt.Sprintf(f, v...))
}
func (r raftLogger) Error(v ...any)            { r.l.Error("raft", "message", fmt.Sprint(v...)) }
func (r raftLogger) Errorf(f string, v ...any) { r.l.Error("raft", "message", fmt.Sprintf(f, v...)) }
func (r raftLogger) Fatal(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (r raftLogger) Fatalf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
func (r raftLogger) Panic(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (r raftLogger) Panicf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
