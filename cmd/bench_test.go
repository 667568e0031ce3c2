package cmd

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// What bench finds must be able to be wrong.
func TestCounterIsChecked(t *testing.T) {
	for _, test := range []struct {
		value, acked, unknown, lost, duplicated int64
	}{
		{10, 10, 0, 0, 0},
		{12, 10, 2, 0, 0},
		{11, 10, 2, 0, 0},
		{9, 10, 2, 1, 0},
		{13, 10, 2, 0, 1},
		{0, 0, 0, 0, 0},
	} {
		key := &benchKey{acked: test.acked, unknown: test.unknown}
		lost, duplicated, err := checkCounter(fmt.Appendf(nil, `{"value":"%d"}`, test.value), key)
		if lost != test.lost || duplicated != test.duplicated || err != nil {
			t.Errorf("%+v: got %d lost, %d twice, %v", test, lost, duplicated, err)
		}
	}
	if _, _, err := checkCounter([]byte(`{"value":true}`), &benchKey{}); err == nil {
		t.Error("no number: no error")
	}
}

func TestRegisterIsChecked(t *testing.T) {
	const size = 32
	read := func(n, version int64) []byte {
		value := ""
		if n > 0 {
			value = string(appendValue(nil, n, size))
		}
		return fmt.Appendf(nil, `{"value":%q,"version":"%d","found":true}`, value, version)
	}
	key := &benchKey{}
	for n := range int64(5) { // 1, 2, 3 acknowledged, 4 unknown, 5 acknowledged
		code := messages.Code_CODE_OK
		if n == 3 {
			code = messages.Code_CODE_OUTCOME_UNKNOWN
		}
		key.ended(n+1, n*10, n*10+5, code)
	}
	if key.acked != 4 || key.unknown != 1 || key.last != 5 {
		t.Fatalf("got %+v", key)
	}
	for name, test := range map[string]struct {
		reply            []byte
		lost, duplicated int64
	}{
		"the last one":              {read(5, 5), 0, 0},
		"the last one, 4 not run":   {read(5, 4), 0, 0},
		"the unknown one, run late": {read(4, 5), 0, 0},
		"an older one":              {read(3, 5), 1, 0},
		"a write is missing":        {read(5, 3), 1, 0},
		"a write too many":          {read(5, 6), 0, 1},
		"nothing":                   {read(0, 0), 4, 0},
		"a value that nobody wrote": {read(77, 5), 1, 0},
	} {
		lost, duplicated, err := checkRegister(test.reply, key, size)
		if lost != test.lost || duplicated != test.duplicated || err != nil {
			t.Errorf("%s: %d lost, %d twice, %v", name, lost, duplicated, err)
		}
	}
	fresh := &benchKey{}
	fresh.ended(1, 0, 1, messages.Code_CODE_UNAVAILABLE)
	if lost, duplicated, err := checkRegister(read(0, 0), fresh, size); lost != 0 || duplicated != 0 || err != nil {
		t.Errorf("never written: %d, %d, %v", lost, duplicated, err)
	}
	if lost, _, _ := checkRegister(read(1, 0), fresh, size); lost != 1 {
		t.Errorf("a refused write that took effect is not noticed")
	}
}

func TestGapIsTheLongestWait(t *testing.T) {
	k := &benchKey{}
	k.ended(1, 0, 10, messages.Code_CODE_OK)    // waited 10
	k.ended(2, 100, 105, messages.Code_CODE_OK) // nobody waited in between
	k.ended(3, 100, 120, messages.Code_CODE_OK) // waited 15 since the last success
	k.ended(4, 130, 190, messages.Code_CODE_UNAVAILABLE)
	if k.gap != 60 {
		t.Errorf("gap %d, want 60", k.gap)
	}
}

func TestGossipKeys(t *testing.T) {
	key := strings.Repeat("k", 32)
	for text, ok := range map[string]bool{
		base64.StdEncoding.EncodeToString([]byte(key)):    true,
		base64.RawURLEncoding.EncodeToString([]byte(key)): true,
		hex.EncodeToString([]byte(key[:16])):              true,
		hex.EncodeToString([]byte(key[:24])):              true,
		hex.EncodeToString([]byte(key[:20])):              false,
		"":                                                false, "secret": false,
	} {
		got, err := decodeKey(text)
		if (err == nil) != ok || ok && !strings.HasPrefix(key, string(got)) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	file := filepath.Join(t.TempDir(), "keys")
	lines := "# newest first\n" + hex.EncodeToString([]byte(key)) + "\n\n" + hex.EncodeToString([]byte(key[:16])) + "\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &nodeConfig{gossipKeyFile: file}
	if err := n.readKeys(); err != nil || len(n.GossipKeys) != 2 || len(n.GossipKeys[0]) != 32 {
		t.Errorf("got %d keys, %v", len(n.GossipKeys), err)
	}
}
