package main

import (
	"strings"
	"testing"

	pb "github.com/seed-49de4af9/ringmaster/examples/register/registerpb"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\nafter:\n%s", err, out.String())
	}
	t.Log("\n" + out.String())
	for _, want := range []string{
		"every read was up to date",
		"took over",
		"version 600 = 300 + 300",
		"R = N / M = 64 copies / 16 partitions = 4.00",
		"killed\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the story lacks %q:\n%s", want, out.String())
		}
	}
}

func TestLedgerCatches(t *testing.T) {
	l := &ledger{}
	l.asked.Store(7)
	for name, c := range map[string]struct {
		floor uint64
		reply *pb.ReadReply
		wrong bool
	}{
		"never written":   {0, &pb.ReadReply{}, false},
		"up to date":      {5, &pb.ReadReply{Version: 5, Value: valueOf(5)}, false},
		"newer":           {5, &pb.ReadReply{Version: 7, Value: valueOf(7)}, false},
		"stale":           {5, &pb.ReadReply{Version: 4, Value: valueOf(4)}, true},
		"from the future": {5, &pb.ReadReply{Version: 8, Value: valueOf(8)}, true},
		"another's value": {5, &pb.ReadReply{Version: 6, Value: valueOf(5)}, true},
		"lost":            {1, &pb.ReadReply{}, true},
	} {
		if err := l.check(c.floor, c.reply); (err != nil) != c.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.saw(3)
	l.saw(2)
	if got := l.acknowledged.Load(); got != 3 {
		t.Errorf("acknowledged is %d after 3 and 2 were seen", got)
	}
}
