package ringmaster_test

import (
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A console block shows what a person types and sees:
//
//	$ ringmaster status
//	HEALTHY  3 of 3 nodes...
//
// A line after "$ " is a command, a "\" at its end goes on in the next line, and
// lines up to the next command are its output. Each page is run as one session of
// bash, top to bottom; what is shown must be what comes. In expected output "..."
// stands for anything, and a line "..." for any lines; durations, sizes, clock
// times and ids may differ. A command without output shown may print what it
// likes, but must succeed.
//
// A command that runs until it is stopped (ringmaster dev or node) runs in the
// background, as in a terminal of its own, until the page ends; its output is
// that up to the last line shown. The command after it waits until it is ready.
// A command that only looks is repeated until it shows what the page shows: a
// cluster takes a moment to notice things.
//
// The ports of the pages are replaced by free ones.

// A command is one of a page, with the output shown.
type command struct {
	page   string
	line   int
	text   string
	output []string
}

// consoleCommands finds the commands of a page.
func consoleCommands(page, text string) []command {
	var all []command
	inBlock, goesOn := false, false
	for n, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock = line == "```console"
			goesOn = false
		case !inBlock:
		case goesOn:
			last := &all[len(all)-1]
			last.text += "\n" + line
			goesOn = strings.HasSuffix(line, `\`)
		case strings.HasPrefix(line, "$ "):
			all = append(all, command{page: page, line: n + 1, text: line[2:]})
			goesOn = strings.HasSuffix(line, `\`)
		case len(all) > 0:
			last := &all[len(all)-1]
			last.output = append(last.output, line)
		}
	}
	return all
}

// goBlocks finds the whole Go programs and files of a page, by line.
func goBlocks(text string) map[int]string {
	blocks := map[int]string{}
	at := 0
	for n, line := range strings.Split(text, "\n") {
		switch {
		case line == "```go":
			at = n + 1
		case strings.HasPrefix(line, "```"):
			at = 0
		case at > 0:
			blocks[at] += line + "\n"
		}
	}
	for n, b := range blocks {
		if !strings.Contains(b, "\npackage ") && !strings.HasPrefix(b, "package ") {
			delete(blocks, n) // a fragment
		}
	}
	return blocks
}

var server = regexp.MustCompile(`^(go run \./cmd/ringmaster|ringmaster|go run \.) (dev|node)\b`)

func (c command) server() bool { return server.MatchString(c.text) }

var looking = regexp.MustCompile(`^ringmaster (status|members|ring|partitions)\b`)

func (c command) looks() bool { return looking.MatchString(c.text) }

// varying finds what differs from run to run.
var varying = regexp.MustCompile(strings.Join([]string{
	`\b\d{4}-\d\d-\d\dT[0-9:.]+Z?`,                               // instants
	`\b\d\d:\d\d:\d\d(\.\d+)?\b`,                                 // clock times
	`\b\d+(\.\d+)? ?(ns|µs|ms|s|m|h|B|KiB|MiB|GiB|%)( |$|[).,])`, // figures
	`\b[0-9A-HJKMNP-TV-Z]{26}\b`,                                 // ids
}, "|"))

// pattern turns shown output into what real output must match.
func pattern(lines []string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`^`)
	for _, line := range lines {
		if line == "..." {
			b.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		rest := strings.TrimRight(line, " ")
		for rest != "" {
			at := varying.FindStringIndex(rest)
			dots := strings.Index(rest, "...")
			switch {
			case at != nil && (dots < 0 || at[0] < dots):
				b.WriteString(literal(rest[:at[0]]) + `[^\n]*?`)
				rest = rest[at[1]:]
			case dots >= 0:
				b.WriteString(literal(rest[:dots]) + `[^\n]*?`)
				rest = rest[dots+3:]
			default:
				b.WriteString(literal(rest))
				rest = ""
			}
		}
		b.WriteString(`[ \t]*\n`)
	}
	return regexp.MustCompile(b.String())
}

var spaces = regexp.MustCompile(`[ \t]+`)

// literal matches a text whose columns may be wider or narrower.
func literal(text string) string {
	return spaces.ReplaceAllString(regexp.QuoteMeta(text), `[ \t]+`)
}

// matches tells whether real output begins with what is shown and, unless it
// comes from a server, ends there too.
func (c command) matches(got string) bool {
	shown := c.output
	for len(shown) > 0 && shown[len(shown)-1] == "" {
		shown = shown[:len(shown)-1]
	}
	if len(shown) == 0 {
		return true
	}
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	at := pattern(shown).FindStringIndex(got)
	return at != nil && (c.server() || shown[len(shown)-1] == "..." || strings.TrimSpace(got[at[1]:]) == "")
}

// pages are the documents whose blocks are run.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, s := range tree(t) {
		if path.Ext(s.path) == ".md" {
			found[s.path] = s.text
		}
	}
	return found
}

// The pages use the ports from pagePort on, 10 for each node.
const (
	pagePort  = 7420
	pagePorts = 30
)

var port = regexp.MustCompile(`\b74[2-4]\d\b`)

// ports replaces the ports of a page by those of a free block.
type ports struct{ first int }

func (p ports) in(text string) string {
	return port.ReplaceAllStringFunc(text, func(shown string) string {
		n, err := strconv.Atoi(shown)
		if err != nil {
			return shown
		}
		return strconv.Itoa(p.first + n - pagePort)
	})
}

// back shows the ports that the page shows.
func (p ports) back(text string) string {
	for i := range pagePorts {
		text = strings.ReplaceAll(text, strconv.Itoa(p.first+i), strconv.Itoa(pagePort+i))
	}
	return text
}

// freePorts finds a block of free ports, below those that the system gives away.
func freePorts(t *testing.T) ports {
	t.Helper()
	for range 100 {
		p := ports{20000 + pagePorts*rand.IntN(12000/pagePorts)}
		if p.free(t) {
			return p
		}
	}
	t.Fatalf("no block of %d free ports", pagePorts)
	return ports{}
}

func (p ports) free(t *testing.T) bool {
	t.Helper()
	for i := range pagePorts {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p.first+i))
		if err != nil {
			return false
		}
		defer l.Close()
	}
	return true
}

// buildRingmaster builds the program that the pages call.
func buildRingmaster(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/ringmaster").CombinedOutput()
	if err != nil {
		t.Fatalf("go build ./cmd/ringmaster: %v\n%s", err, out)
	}
	return dir
}

// The commands of the README that stand for the project: what passes the tests,
// and what does the main job.
const (
	testCommand = "go test ./..."
	mainCommand = "go run ./cmd/ringmaster dev"
)

// notRun are commands that are shown and not run, with the reason.
var notRun = map[string]string{
	testCommand: "is what runs this test",
}

func TestConsoleBlocks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	bin := buildRingmaster(t)
	texts := pages(t)
	for _, page := range slices.Sorted(maps.Keys(texts)) {
		commands := consoleCommands(page, texts[page])
		if len(commands) == 0 {
			continue
		}
		t.Run(page, func(t *testing.T) {
			// A guide is read anywhere; a README at its folder.
			dir := path.Dir(page)
			if strings.HasPrefix(page, "docs/") {
				dir = t.TempDir()
			}
			s := newSession(t, dir, bin)
			for _, c := range commands {
				if notRun[c.text] == "" {
					s.run(c)
				}
			}
		})
	}
}

// Whole programs and tests in the documentation compile.
func TestGoBlocks(t *testing.T) {
	for page, text := range pages(t) {
		for line, block := range goBlocks(text) {
			name := "block.go"
			if strings.Contains(block, "testing.T") {
				name = "block_test.go"
			}
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", page, line, err, out)
			}
		}
	}
}

func TestREADME(t *testing.T) {
	text := pages(t)["README.md"]
	lines := strings.Split(text, "\n")
	if len(lines) > 120 {
		t.Errorf("README.md has %d lines, more than 120", len(lines))
	}
	commands := consoleCommands("README.md", text)
	if len(commands) == 0 || commands[0].line > 20 || commands[0].text != mainCommand {
		t.Errorf("the first command of README.md is not %q by line 20", mainCommand)
	}
	if !slices.ContainsFunc(commands, func(c command) bool { return c.text == testCommand }) {
		t.Errorf("README.md does not show %q", testCommand)
	}
	ci, err := os.ReadFile(".ci/run")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(ci), testCommand+"\n") {
		t.Errorf(".ci/run does not run %q", testCommand)
	}
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)

// What a page links to within the project exists.
func TestLinks(t *testing.T) {
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(path.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

// The check of output must be able to fail.
func TestOutputIsCompared(t *testing.T) {
	page := "Text.\n```console\n$ a \\\n  b\nHEALTHY  3 of 3 nodes   epoch 12\nReady in 0.6 s.\n...\n{\"value\":\"1\"}\n\n$ c\n```\n$ no\n"
	got := consoleCommands("x.md", page)
	if len(got) != 2 || got[0].text != "a \\\n  b" || got[0].line != 3 || got[1].text != "c" {
		t.Fatalf("commands: %+v", got)
	}
	good := "HEALTHY 3 of 3 nodes epoch 12\nReady in 1.25 s.\nmore\n\n{\"value\":\"1\"}"
	for text, want := range map[string]bool{
		good: true,
		strings.Replace(good, "HEALTHY", "DEGRADED", 1):    false,
		strings.Replace(good, `"1"`, `"2"`, 1):             false,
		strings.Replace(good, "more\n", "", 1):             true,
		strings.Replace(good, "1.25 s", "soon", 1):         true, // a figure stands for anything
		strings.Replace(good, "Ready in 1.25 s.\n", "", 1): false,
		good + "\nand more\n":                              false,
		"":                                                 false,
	} {
		if got[0].matches(text) != want {
			t.Errorf("matches(%q) = %v", text, !want)
		}
	}
	server := command{text: "ringmaster dev --nodes 3", output: []string{"Ready in 0.6 s. Ctrl-C stops it."}}
	if !server.server() || !server.matches("Ready in 2.1 s. Ctrl-C stops it.\nn2 killed\n") {
		t.Errorf("a server's output goes on after what is shown")
	}
}
