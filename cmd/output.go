package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// output says in which form a command prints its data.
type output struct{ format string }

// formats are the forms of every command that reads.
var formats = []string{"table", "wide", "json", "jsonl", "yaml", "name"}

func (o *output) flags(c *cobra.Command) {
	c.Flags().StringVarP(&o.format, "output", "o", "table", "form of the output: "+strings.Join(formats, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

func (o *output) check() error {
	if !slices.Contains(formats, o.format) {
		return exitf(ExitUsage, "-o %s: the forms are %s", o.format, strings.Join(formats, ", "))
	}
	return nil
}

// page is text for people in the making.
type page struct {
	app  *app
	wide bool
	buf  bytes.Buffer
}

func (p *page) linef(format string, args ...any) { fmt.Fprintf(&p.buf, format+"\n", args...) }

// table adds rows under a head; the columns are as wide as needed.
func (p *page) table(head []string, rows [][]string) {
	widths := make([]int, len(head))
	all := append([][]string{head}, rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], width(cell))
		}
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", max(widths[i]-width(cell), 0)+2))
			}
		}
		p.linef("%s", strings.TrimRight(line.String(), " "))
	}
}

// width is how many columns a text takes; colors take none.
func width(s string) int {
	for {
		from := strings.IndexByte(s, '\x1b')
		if from < 0 {
			return utf8.RuneCountInString(s)
		}
		to := strings.IndexByte(s[from:], 'm')
		if to < 0 {
			return utf8.RuneCountInString(s)
		}
		s = s[:from] + s[from+to+1:]
	}
}

// print prints a value: as text for people, or in a form for programs.
func (a *app) print(o *output, value any, text func(*page), names func() []string) error {
	if err := o.check(); err != nil {
		return err
	}
	out, err := a.render(o.format, value, text, names)
	if err != nil {
		return err
	}
	_, err = a.streams.Out.Write(out)
	return err
}

func (a *app) render(format string, value any, text func(*page), names func() []string) ([]byte, error) {
	switch format {
	case "json":
		out, err := json.MarshalIndent(value, "", "  ")
		return append(out, '\n'), err
	case "jsonl":
		out, err := json.Marshal(value)
		return append(out, '\n'), err
	case "yaml":
		out, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		return yamlOf(out)
	case "name":
		var out bytes.Buffer
		for _, name := range names() {
			out.WriteString(name + "\n")
		}
		return out.Bytes(), nil
	}
	p := &page{app: a, wide: format == "wide"}
	text(p)
	return p.buf.Bytes(), nil
}

// color is one of the terminal's.
type color string

const (
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	bold   color = "1"
)

// paint colors a text where that is wanted and w shows it.
func (a *app) paint(w io.Writer, c color, text string) string {
	switch a.color {
	case "always":
	case "never":
		return text
	default:
		if value, set := a.getenv("NO_COLOR"); set && value != "" || !isTerminal(w) {
			return text
		}
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// say tells what goes on, to people.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.streams.Err, format+"\n", args...)
	}
}

// ago is a time as people say it.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return durationText(time.Since(t))
}

func durationText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
