package cmd

import (
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// logging is how a server logs.
type logging struct{ format, level string }

func (l *logging) flags(c *cobra.Command, level string) {
	c.Flags().StringVar(&l.format, "log-format", "text", "text or json")
	c.Flags().StringVar(&l.level, "log-level", level, "debug, info, warn or error")
	_ = c.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
}

// logger writes to w, which is stderr.
func (l *logging) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil || !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(l.level)) {
		return nil, exitf(ExitUsage, "--log-level %q: use debug, info, warn or error", l.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, exitf(ExitUsage, "--log-format %q: use text or json", l.format)
}
