package cmd

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestYAML(t *testing.T) {
	for document, want := range map[string]string{
		`{"a":1,"b":"x: y","c":null,"d":true}`: "a: 1\nb: \"x: y\"\nc: null\nd: true\n",
		`{"list":[1,"two",[3],{"k":"v","l":[]}],"none":{},"z":"0"}`: `list:
  - 1
  - "two"
  - - 3
  - k: "v"
    l: []
none: {}
z: "0"
`,
		`[]`:                    "[]\n",
		`"text"`:                "\"text\"\n",
		`[{"a":{"b":[{}]}}]`:    "- a:\n    b:\n      - {}\n",
		`{"big":1234567890123}`: "big: 1234567890123\n",
	} {
		got, err := yamlOf([]byte(document))
		if err != nil {
			t.Errorf("%s: %v", document, err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", document, diff)
		}
	}
	if _, err := yamlOf([]byte(`{"a":`)); err == nil {
		t.Error("half a document: no error")
	}
}

func TestTablesAlign(t *testing.T) {
	a := &app{color: "always"}
	p := &page{app: a}
	p.table([]string{"NODE", "STATE", "N"}, [][]string{{"n1", a.paint(nil, yellow, "failed"), "1"}, {"a-long-name", "", "23"}})
	want := "NODE         STATE   N\nn1           \x1b[33mfailed\x1b[0m  1\na-long-name  -       23\n"
	if got := p.buf.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestColorsAreForTerminals(t *testing.T) {
	noColor := func(value string, set bool) func(string) (string, bool) {
		return func(string) (string, bool) { return value, set }
	}
	for _, test := range []struct {
		color string
		env   func(string) (string, bool)
		want  bool
	}{
		{"auto", noColor("", false), false}, // a buffer is no terminal
		{"always", noColor("1", true), true},
		{"never", noColor("", false), false},
	} {
		a := &app{color: test.color, getenv: test.env}
		if got := strings.Contains(a.paint(&bytes.Buffer{}, red, "x"), "\x1b"); got != test.want {
			t.Errorf("--color %s: colored %v, want %v", test.color, got, test.want)
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 3 * time.Second: "3s", 90 * time.Second: "1m", 3 * time.Hour: "3h", 72 * time.Hour: "3d",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", 1234567: "1 234 567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// The forms for programs hold the same data.
func TestFormsAgree(t *testing.T) {
	a := &app{}
	value := newVersionView()
	for _, form := range []string{"json", "jsonl"} {
		out, err := a.render(form, value, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var back versionView
		if err := json.Unmarshal(out, &back); err != nil || back != value {
			t.Errorf("%s: %v, %v", form, back, err)
		}
		if lines := strings.Count(string(out), "\n"); form == "jsonl" && lines != 1 {
			t.Errorf("jsonl has %d lines", lines)
		}
	}
}
