package ringmaster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// A pkg is what the go command says about one package.
type pkg struct {
	ImportPath, Dir, Name              string
	Standard                           bool
	Imports, TestImports, XTestImports []string
	Module                             *struct{ Path string }
}

// packages lists the packages of this module and all that they reach, by path.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps",
		"-json=ImportPath,Dir,Name,Standard,Imports,TestImports,XTestImports,Module", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	byPath := map[string]*pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return byPath
		}
		if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		byPath[p.ImportPath] = &p
	}
}

// roomOf is a package's folder within this module; the root's is "".
func roomOf(importPath string) (room string, ours bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// covers tells whether a pattern, "x" or "x/..." or "...", holds a path.
func covers(pattern, p string) bool {
	if pattern == "..." {
		return true
	}
	base, below := strings.CutSuffix(pattern, "/...")
	return p == base || below && strings.HasPrefix(p, base+"/")
}

func coveredBy(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return covers(pattern, p) })
}

// wallProblems holds one room's imports of this module against the walls.
func wallProblems(room string, imports []string) []string {
	i := slices.IndexFunc(walls, func(w wall) bool { return w.room == room })
	if i < 0 {
		return []string{fmt.Sprintf("%s: no wall says what it may import; add its line to walls", room)}
	}
	var problems []string
	for _, imp := range imports {
		to, ours := roomOf(imp)
		if ours && !coveredBy(walls[i].mayImport, to) {
			problems = append(problems, fmt.Sprintf("%s imports %s; it may import %q", room, to, walls[i].mayImport))
		}
	}
	return problems
}

// dependencyProblems holds one room's imports of other modules against the list
// of dependencies, and notes in used what it met.
func dependencyProblems(room string, imports []string, test bool, used map[string]bool) []string {
	var problems []string
	for _, imp := range imports {
		_, ours := roomOf(imp)
		if ours || !strings.Contains(strings.Split(imp, "/")[0], ".") {
			continue
		}
		i := slices.IndexFunc(dependencies, func(d dependency) bool { return covers(d.module+"/...", imp) })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("%s imports %s, which is no dependency listed with a reason", room, imp))
			continue
		}
		d := dependencies[i]
		used[d.module] = true
		allowed := d.rooms
		if test && d.tests != nil {
			allowed = d.tests
		}
		if !coveredBy(allowed, room) {
			problems = append(problems, fmt.Sprintf("%s imports %s; it belongs to %q: %s", room, imp, allowed, d.why))
		}
	}
	return problems
}

func forbiddenProblems(room string, imports []string) []string {
	var problems []string
	for _, imp := range imports {
		for _, f := range forbiddenImports {
			exact := !strings.Contains(f.path, ".") // math/rand, not math/rand/v2
			if imp == f.path || !exact && covers(f.path+"/...", imp) {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", room, imp, f.why))
			}
		}
	}
	return problems
}

// chain is the shortest way of imports from one package to a package or any of a
// module, or nil.
func chain(byPath map[string]*pkg, from, to string) []string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at != from && covers(to+"/...", at) && (strings.Contains(to, ".") || at == to) {
			var way []string
			for ; at != ""; at = before[at] {
				way = append([]string{at}, way...)
			}
			return way
		}
		if byPath[at] == nil {
			continue
		}
		for _, next := range byPath[at].Imports {
			if _, seen := before[next]; !seen {
				before[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func importFindings(f *findings, byPath map[string]*pkg) {
	used := map[string]bool{}
	for _, p := range byPath {
		room, ours := roomOf(p.ImportPath)
		if !ours {
			continue
		}
		if room != "" {
			f.add("wall", room, wallProblems(room, p.Imports))
		}
		tests := slices.Concat(p.TestImports, p.XTestImports)
		f.add("dependency", room, dependencyProblems(room, p.Imports, false, used))
		f.add("dependency", room, dependencyProblems(room, tests, true, used))
		f.add("forbidden", room, forbiddenProblems(room, slices.Concat(p.Imports, tests)))
	}
	for _, c := range forbiddenChains {
		from := path.Join(module, c.from)
		if byPath[from] == nil {
			f.Errorf("forbiddenChains: there is no package %s", c.from)
		} else if way := chain(byPath, from, c.never); way != nil {
			f.Errorf("%s reaches %s (%s):\n\t%s", c.from, c.never, c.why, strings.Join(way, "\n\t-> "))
		}
	}
	for _, w := range walls {
		if byPath[path.Join(module, w.room)] == nil {
			f.Errorf("walls: there is no package %s", w.room)
		}
	}
	for _, d := range dependencies {
		if !used[d.module] {
			f.Errorf("dependencies: nothing imports %s", d.module)
		}
	}
}

// goMod is what the go command says about go.mod.
type goMod struct {
	Require []struct {
		Path     string
		Indirect bool
	}
	Replace []struct{ Old struct{ Path string } }
}

func TestDependenciesHaveReasons(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatalf("go mod edit -json: %v", err)
	}
	var mod goMod
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatalf("reading go.mod: %v", err)
	}
	for _, r := range mod.Replace {
		t.Errorf("go.mod replaces %s: who requires this module would get something else than we test", r.Old.Path)
	}
	required := map[string]bool{}
	for _, r := range mod.Require {
		required[r.Path] = true
		listed := slices.ContainsFunc(dependencies, func(d dependency) bool { return d.module == r.Path })
		if !r.Indirect && !listed {
			t.Errorf("go.mod requires %s, which is no dependency listed with a reason", r.Path)
		}
	}
	seen := map[string]bool{}
	for _, d := range dependencies {
		if !required[d.module] {
			t.Errorf("%s is listed as a dependency, but go.mod does not require it", d.module)
		}
		if d.why == "" || seen[d.module] {
			t.Errorf("%s: one line, with a reason", d.module)
		}
		seen[d.module] = true
	}
}

// The checks must be able to fail.
func TestImportChecksCatch(t *testing.T) {
	used := map[string]bool{}
	raft, list, own := "go.etcd.io/raft/v3", "github.com/hashicorp/memberlist", module+"/cluster/storage"
	for name, got := range map[string][]string{
		"sideways":            wallProblems("actors/replica", []string{module + "/actors/coordinator"}),
		"up":                  wallProblems("messages", []string{module + "/actors"}),
		"port to adapter":     wallProblems("actors/replica", []string{own}),
		"room without a line": wallProblems("actors/util", nil),
		"dependency elsewhere": dependencyProblems("cluster/api",
			[]string{raft + "/raftpb"}, false, used),
		"test dependency in code": dependencyProblems("cluster/api",
			[]string{"github.com/google/go-cmp/cmp"}, false, used),
		"unknown dependency": dependencyProblems("cluster", []string{"github.com/nobody/knows"}, false, used),
		"old randomness":     forbiddenProblems("cluster", []string{"math/rand"}),
		"remote":             forbiddenProblems("cluster", []string{"github.com/asynkron/protoactor-go/remote/x"}),
		"chain": chain(map[string]*pkg{
			"a": {Imports: []string{"b"}}, "b": {Imports: []string{list + "/x"}},
		}, "a", list),
	} {
		if len(got) == 0 {
			t.Errorf("%s: not caught", name)
		}
	}
	for name, got := range map[string][]string{
		"down":       wallProblems("actors/replica", []string{module + "/messages", "fmt"}),
		"its room":   dependencyProblems("actors/replica", []string{raft}, false, used),
		"test":       dependencyProblems("cluster/api", []string{"github.com/google/go-cmp/cmp"}, true, used),
		"randomness": forbiddenProblems("cluster", []string{"math/rand/v2"}),
		"net/http is not net": chain(map[string]*pkg{
			"a": {Imports: []string{"net/url"}},
		}, "a", "net"),
	} {
		if len(got) > 0 {
			t.Errorf("%s: caught without cause: %q", name, got)
		}
	}
}
