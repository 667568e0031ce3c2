package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed-49de4af9/ringmaster/actors"
)

// workload is what bench does to each key and how it checks what became of it.
// It knows the behaviors by their descriptors only.
type workload struct {
	kind, command, query string
	read                 *actors.Method
	valueBytes           int
	// exclusive says that no two callers may use one key.
	exclusive bool
	// payload is the request of a key's n-th command.
	payload func(n int64) []byte
	// check compares what was read, as JSON, with what is known of the key.
	check func(reply []byte, key *benchKey) (lost, duplicated int64, err error)
}

// newWorkload makes the workload that was asked for.
func (a *app) newWorkload(b *benchConfig) (*workload, error) {
	switch b.workload {
	case "counter":
		return a.counterWorkload()
	case "register":
		return a.registerWorkload(b.valueBytes)
	}
	return nil, exitf(ExitUsage, "--workload %q: there are counter and register", b.workload)
}

// methods finds two methods of a kind that this program must have.
func (a *app) methods(kind, command, query string) (*workload, *actors.Method, error) {
	b := a.behavior(kind)
	if b == nil {
		return nil, nil, exitf(ExitUsage, "--workload %s: this program was not given that behavior; it is in examples/%s", kind, kind)
	}
	write, ok := b.Method(command)
	read, found := b.Method(query)
	if !ok || !found {
		return nil, nil, exitf(ExitUsage, "--workload %s: its behavior here has no %s or no %s", kind, command, query)
	}
	return &workload{kind: kind, command: command, query: query, read: read}, write, nil
}

func (a *app) counterWorkload() (*workload, error) {
	w, add, err := a.methods("counter", "Add", "Get")
	if err != nil {
		return nil, err
	}
	one, err := add.DecodeJSON([]byte(`{"delta":1}`))
	if err != nil {
		return nil, exitf(ExitUsage, "--workload counter: %w", err)
	}
	w.payload = func(int64) []byte { return one }
	w.check = checkCounter
	return w, nil
}

// checkCounter: each command added 1.
func checkCounter(reply []byte, key *benchKey) (lost, duplicated int64, err error) {
	var got struct {
		Value int64 `json:"value,string"`
	}
	if err := json.Unmarshal(reply, &got); err != nil {
		return 0, 0, err
	}
	return max(key.acked-got.Value, 0), max(got.Value-key.acked-key.unknown, 0), nil
}

// valueBytesMin is the room for the number that tells a value from the others.
const valueBytesMin = 20

func (a *app) registerWorkload(valueBytes int) (*workload, error) {
	w, write, err := a.methods("register", "Write", "Read")
	if err != nil {
		return nil, err
	}
	field := write.Request.Descriptor().Fields().ByName("value")
	if field == nil {
		return nil, exitf(ExitUsage, "--workload register: its Write has no field value")
	}
	w.exclusive, w.valueBytes = true, valueBytes
	head := protowire.AppendVarint(protowire.AppendTag(nil, field.Number(), protowire.BytesType), uint64(valueBytes))
	w.payload = func(n int64) []byte {
		payload := append(make([]byte, 0, len(head)+valueBytes), head...)
		return appendValue(payload, n, valueBytes)
	}
	w.check = func(reply []byte, key *benchKey) (int64, int64, error) { return checkRegister(reply, key, valueBytes) }
	return w, nil
}

// appendValue appends the n-th value of a key: its number, and dots.
func appendValue(buf []byte, n int64, size int) []byte {
	from := len(buf)
	buf = strconv.AppendInt(buf, n, 10)
	for len(buf) < from+size {
		buf = append(buf, '.')
	}
	return buf
}

// checkRegister: the version counts the writes, and the value is that of the last
// one acknowledged, or of one whose outcome is not known.
func checkRegister(reply []byte, key *benchKey, valueBytes int) (lost, duplicated int64, err error) {
	var got struct {
		Value   string `json:"value"`
		Version int64  `json:"version,string"`
	}
	if err := json.Unmarshal(reply, &got); err != nil {
		return 0, 0, err
	}
	lost, duplicated = max(key.acked-got.Version, 0), max(got.Version-key.acked-key.unknown, 0)
	possible := func(n int64) bool { return got.Value == string(appendValue(nil, n, valueBytes)) }
	never := key.last == 0 && got.Value == ""
	if lost == 0 && !never && !(key.last > 0 && possible(key.last)) && !slices.ContainsFunc(key.open, possible) {
		lost = 1 // the number of writes is right, and yet another value is there
	}
	return lost, duplicated, nil
}

// verify reads one key back.
func (w *workload) verify(ctx context.Context, client actors.Client, key *benchKey) (lost, duplicated int64, err error) {
	payload, err := client.Invoke(ctx, actors.Invocation{Actor: actors.ActorID{Kind: w.kind, Key: key.name}, Method: w.query, Query: true})
	if err != nil {
		return 0, 0, err
	}
	reply, err := w.read.EncodeJSON(payload)
	if err != nil {
		return 0, 0, err
	}
	lost, duplicated, err = w.check(reply, key)
	if err != nil {
		return 0, 0, fmt.Errorf("%s/%s: %w", w.kind, key.name, err)
	}
	return lost, duplicated, nil
}
