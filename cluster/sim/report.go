package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Write puts everything about a run into a directory of its own under dir: the
// seed and how to repeat it, the faults, the newest events, and for each actor
// whose history cannot be explained its operations as text and as a page for a
// browser. It returns the directory.
func (r *Result) Write(dir string) (string, error) {
	path := filepath.Join(dir, fmt.Sprintf("seed-%d", r.Seed))
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", fmt.Errorf("make a directory for the report: %w", err)
	}
	schedule, err := json.MarshalIndent(r.Schedule, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the faults: %w", err)
	}
	summary := r.String() + "\n" + "repeat with: " + r.Repeat + "\n\n" + strings.Join(r.Violations, "\n") + "\n"
	files := map[string]string{
		"summary.txt": summary,
		"faults.json": string(schedule),
		"log.txt":     strings.Join(r.Log, "\n") + "\n",
	}
	for _, v := range r.verdicts {
		name := strings.Map(fileRune, v.Actor.String())
		for _, ops := range r.History.ByActor() {
			if ops[0].Actor == v.Actor {
				last, unexplained := v.Stuck(ops)
				text := "The longest explanation ends with the first of these; it cannot explain the others:\n" +
					strings.Join(describeOps(append([]*Op{last}, unexplained...)), "\n") + "\n\nAll operations:\n"
				files[name+".txt"] = text + strings.Join(describeOps(ops), "\n") + "\n"
			}
		}
		if err := v.Draw(filepath.Join(path, name+".html")); err != nil {
			return "", fmt.Errorf("draw the history of %s: %w", v.Actor, err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("write the report: %w", err)
		}
	}
	return path, nil
}

// fileRune replaces what does not belong into a file's name.
func fileRune(r rune) rune {
	if r == '/' || r == os.PathSeparator || r < ' ' {
		return '-'
	}
	return r
}
