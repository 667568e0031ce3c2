package ringmaster_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// A source is one text file of the project.
type source struct {
	path, text string
	// The rest is set for Go files only.
	fset *token.FileSet
	file *ast.File
}

func (s *source) generated() bool { return s.file != nil && ast.IsGenerated(s.file) }
func (s *source) test() bool      { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) line(p token.Pos) int {
	return s.fset.Position(p).Line
}

func parse(name, text string) (*source, error) {
	s := &source{path: name, text: text}
	if path.Ext(name) != ".go" {
		return s, nil
	}
	s.fset = token.NewFileSet()
	var err error
	s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments)
	return s, err
}

// notOurs are folders and files whose text is made by tools or by others.
var notOurs = []string{".git", "node_modules", "bin", "data", "dist", "testdata/fuzz", "testdata/rapid", "go.sum", "package-lock.json", "LICENSE"}

// tree reads every text file of the project.
func tree(t *testing.T) []*source {
	t.Helper()
	var sources []*source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if slices.ContainsFunc(notOurs, func(n string) bool { return name == n || strings.HasSuffix(name, "/"+n) }) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
			return nil // a picture, a font, a seed
		}
		s, err := parse(name, string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		sources = append(sources, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// findings takes what the checks find, less the exceptions.
type findings struct {
	*testing.T
	needed map[exception]bool
}

func (f *findings) add(check, place string, problems []string) {
	f.Helper()
	if len(problems) == 0 {
		return
	}
	for _, e := range exceptions {
		if e.check == check && e.place == place {
			f.needed[e] = true
			return
		}
	}
	for _, p := range problems {
		f.Errorf("%s: %s", check, p)
	}
}

func TestTidy(t *testing.T) {
	f := &findings{t, map[exception]bool{}}
	importFindings(f, packages(t))
	sourceFindings(f, tree(t))
	for _, e := range exceptions {
		if !f.needed[e] {
			t.Errorf("exception {%q, %q} is no longer needed: remove it", e.check, e.place)
		}
	}
}

// A check looks at one file. The place of its exceptions is the file, or for
// functions "file function".
type check struct {
	name string
	find func(*source) []string
	// bad is a file that the check must object to; good one it must not.
	bad, good source
}

var checks = []check{
	{
		"world", worldProblems,
		source{path: "actors/x/x.go", text: "package x\nimport clock \"time\"\nvar _ = clock.Now()"},
		source{path: "actors/x/x.go", text: "package x\nimport \"time\"\nvar _ = time.Second"},
	},
	{
		"world", worldProblems,
		source{path: "actors/x/x.go", text: "package x\nfunc f() { go f() }"},
		source{path: "actors/x/x_test.go", text: "package x\nfunc f() { go f() }"},
	},
	{
		"world", worldProblems,
		source{path: "actors/x/x.go", text: "package x\nimport _ \"net/http\""},
		source{path: "cluster/x/x.go", text: "package x\nimport _ \"net/http\""},
	},
	{
		"init", initProblems,
		source{path: "x.go", text: "package x\nfunc init() {}"},
		source{path: "x.go", text: "package x\ntype t int\nfunc (t) init() {}"},
	},
	{
		"sleep", sleepProblems,
		source{path: "x_test.go", text: "package x\nimport \"time\"\nfunc f() { time.Sleep(1) }"},
		source{path: "x.go", text: "package x\nimport \"time\"\nfunc f() { time.NewTimer(1).Stop() }"},
	},
	{
		"long file", fileLength,
		source{path: "x.go", text: "package x\n" + strings.Repeat("//\n", fileLinesMax)},
		source{path: "x.md", text: strings.Repeat("\n", fileLinesMax*2)},
	},
	{
		"format", formatProblems,
		source{path: "x.go", text: "package x\n\nvar x  = 1\n"},
		source{path: "x.go", text: "package x\n\nvar x = 1\n"},
	},
	{
		"word", wordProblems,
		source{path: "x.md", text: "Its Behaviour is odd."},
		source{path: "x.md", text: "Its behavior is todolike."},
	},
	{
		"word", wordProblems,
		source{path: "x.go", text: "package x\n// TODO: all of it\n"},
		source{path: "x.go", text: "package x\n"},
	},
}

func sourceFindings(f *findings, sources []*source) {
	for _, s := range sources {
		for i, c := range checks {
			if i > 0 && checks[i-1].name == c.name {
				continue // the same check, with another pair of samples
			}
			f.add(c.name, s.path, c.find(s))
		}
		for _, fn := range functions(s) {
			f.add("long function", s.path+" "+fn.name, fn.tooLong(s.path))
		}
	}
	for room, problems := range packageComments(sources) {
		f.add("package comment", room, problems)
	}
	if len(sources) < 50 {
		f.Errorf("looked at %d files: this is not the whole tree", len(sources))
	}
}

// worldProblems finds where code under actors/ touches the world.
func worldProblems(s *source) []string {
	if !strings.HasPrefix(s.path, "actors/") || s.file == nil || s.test() {
		return nil
	}
	var problems []string
	for _, imp := range s.file.Imports {
		name, _ := strconv.Unquote(imp.Path.Value)
		for _, w := range worldPackages {
			if name == w.path || strings.HasPrefix(name, w.path+"/") && name != "math/rand/v2" {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", s.path, name, w.why))
			}
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			problems = append(problems, fmt.Sprintf("%s:%d starts a goroutine: work runs in mailboxes", s.path, s.line(n.Pos())))
		case *ast.SelectorExpr:
			if why := worldCalls[qualified(s, n)]; why != "" {
				problems = append(problems, fmt.Sprintf("%s:%d uses %s: %s", s.path, s.line(n.Pos()), qualified(s, n), why))
			}
		}
		return true
	})
	return problems
}

// qualified is "package.Name" for a selector on an imported package, whatever
// name the file gives it, else "".
func qualified(s *source, sel *ast.SelectorExpr) string {
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	for _, imp := range s.file.Imports {
		importPath, _ := strconv.Unquote(imp.Path.Value)
		name := path.Base(importPath)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		if name == id.Name {
			return importPath + "." + sel.Sel.Name
		}
	}
	return ""
}

// initProblems: the order of a start is read in one function.
func initProblems(s *source) []string {
	var problems []string
	for _, f := range functions(s) {
		if f.name == "init" {
			problems = append(problems, fmt.Sprintf("%s:%d: func init: start-up order must be visible", s.path, f.line))
		}
	}
	return problems
}

// sleepProblems: a test waits for what it waits for; code waits with a timer that
// can be stopped.
func sleepProblems(s *source) []string {
	if s.file == nil {
		return nil
	}
	var problems []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && qualified(s, sel) == "time.Sleep" {
			problems = append(problems, fmt.Sprintf("%s:%d sleeps: wait for an event with a deadline", s.path, s.line(n.Pos())))
		}
		return true
	})
	return problems
}

func fileLength(s *source) []string {
	lines := strings.Count(s.text, "\n")
	if s.file == nil || s.generated() || lines <= fileLinesMax {
		return nil
	}
	return []string{fmt.Sprintf("%s has %d lines, more than %d: a file is one idea", s.path, lines, fileLinesMax)}
}

func formatProblems(s *source) []string {
	if s.file == nil || s.generated() {
		return nil
	}
	want, err := format.Source([]byte(s.text))
	if err != nil || string(want) != s.text {
		return []string{s.path + " is not formatted: make fix"}
	}
	return nil
}

var words = func() *regexp.Regexp {
	var all []string
	for w := range forbiddenWords {
		all = append(all, w)
	}
	slices.Sort(all)
	return regexp.MustCompile(`(?i)\b(` + strings.Join(all, "|") + `)\b`)
}()

func wordProblems(s *source) []string {
	if s.generated() {
		return nil
	}
	var problems []string
	for n, line := range strings.Split(s.text, "\n") {
		for _, w := range words.FindAllString(line, -1) {
			instead := forbiddenWords[strings.ToLower(w)]
			if instead == "" {
				instead = forbiddenWords[strings.ToUpper(w)]
			}
			problems = append(problems, fmt.Sprintf("%s:%d: %q: %s", s.path, n+1, w, instead))
		}
	}
	return problems
}

// A function is one declared function or method.
type function struct {
	name        string
	line, lines int
}

func (f function) tooLong(place string) []string {
	if f.lines <= functionLinesMax {
		return nil
	}
	return []string{fmt.Sprintf("%s:%d: %s has %d lines, more than %d", place, f.line, f.name, f.lines, functionLinesMax)}
}

func functions(s *source) []function {
	if s.file == nil || s.generated() {
		return nil
	}
	var all []function
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = "." + name
		}
		first := s.line(f.Pos())
		all = append(all, function{name, first, s.line(f.End()) - first + 1})
	}
	return all
}

// packageComments finds folders whose package has not exactly one comment, or one
// that does not begin as a reader of the documentation expects.
func packageComments(sources []*source) map[string][]string {
	comments := map[string][]string{}
	names := map[string]string{}
	for _, s := range sources {
		// A package of tests alone is documented among its tests.
		room := path.Dir(s.path)
		if s.file == nil || s.generated() || strings.Contains(s.path, "testdata/") || s.test() && room != "." {
			continue
		}
		names[room] = s.file.Name.Name
		if s.file.Doc != nil {
			comments[room] = append(comments[room], s.file.Doc.Text())
		}
	}
	problems := map[string][]string{}
	for room, name := range names {
		switch got := comments[room]; {
		case len(got) != 1:
			problems[room] = []string{fmt.Sprintf("%s: package %s has %d package comments; one file says what it is for", room, name, len(got))}
		case name != "main" && !strings.HasPrefix(got[0], "Package "+name+" "):
			problems[room] = []string{fmt.Sprintf("%s: the package comment begins with %q", room, "Package "+name)}
		}
	}
	return problems
}

// The checks must be able to fail.
func TestSourceChecksCatch(t *testing.T) {
	for _, c := range checks {
		for _, sample := range []struct {
			source
			wrong bool
		}{{c.bad, true}, {c.good, false}} {
			s, err := parse(sample.path, sample.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.find(s); len(got) > 0 != sample.wrong {
				t.Errorf("%s: %q in %s: got %q", c.name, s.text, s.path, got)
			}
		}
	}
	long, err := parse("x.go", "package x\nfunc f() {\n"+strings.Repeat("\n", functionLinesMax)+"}")
	if err != nil {
		t.Fatal(err)
	}
	if f := functions(long)[0]; len(f.tooLong("x.go")) == 0 {
		t.Errorf("a function of %d lines is not caught", f.lines)
	}
	if got := packageComments([]*source{long}); len(got) != 1 {
		t.Errorf("a package without a comment is not caught")
	}
}
