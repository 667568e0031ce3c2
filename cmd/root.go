package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-49de4af9/ringmaster/actors"
)

// app is one run of the command line.
type app struct {
	behaviors []*actors.Behavior
	streams   Streams
	getenv    func(string) (string, bool)
	// started says that the command line was understood.
	started bool

	color string
	quiet bool
}

// The groups of commands in help.
const (
	groupRun  = "run"
	groupLook = "look"
	groupUse  = "use"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ringmaster",
		Short: "Replicated actors for Go: run nodes, look at them, call actors",
		Long: `Ringmaster runs actors on a cluster of nodes that find each other by gossip
and replicate every actor's state among themselves.

Start with 'ringmaster dev': a whole cluster in this process.`,
		Example: `  ringmaster dev
  ringmaster call counter/alice Add '{"delta":1}'
  ringmaster status`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
		Args:              knownCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupUse, Title: "Use:"},
	)
	root.PersistentFlags().StringVar(&a.color, "color", "auto", "auto, always or never; NO_COLOR is respected")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "say nothing but data and errors")
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupRun, a.devCommand(), a.nodeCommand())
	add(groupLook, a.statusCommand(), a.membersCommand(), a.ringCommand(), a.partitionsCommand(), a.kindsCommand())
	add(groupUse, a.callCommand(), a.benchCommand())
	root.AddCommand(a.versionCommand())
	root.SetFlagErrorFunc(flagError)
	root.SetHelpTemplate(root.HelpTemplate() + "{{if not .HasParent}}\n" + exitCodes + "\n{{end}}")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	everyCommand(root, describeEnvironment)
	return root
}

func everyCommand(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		everyCommand(sub, do)
	}
}

// environmentName is the variable that sets a flag.
func environmentName(flag string) string {
	return "RINGMASTER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// describeEnvironment has help say which variable sets a flag.
func describeEnvironment(c *cobra.Command) {
	describe := func(f *pflag.Flag) {
		if f.Name != "help" && !strings.Contains(f.Usage, "RINGMASTER_") {
			f.Usage += " [" + environmentName(f.Name) + "]"
		}
	}
	if strings.HasPrefix(c.CommandPath(), "ringmaster completion") || strings.HasPrefix(c.CommandPath(), "ringmaster help") {
		return
	}
	c.LocalNonPersistentFlags().VisitAll(describe)
	c.PersistentFlags().VisitAll(describe)
	c.SetUsageTemplate(usageTemplate)
}

// usageTemplate is cobra's, with flags wrapped at 78 columns.
const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}

More:{{range $cmds}}{{if (and (eq .GroupID "") (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 78 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsagesWrapped 78 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

Use "{{.CommandPath}} [command] --help" for more about a command.{{end}}
`

// prepare takes flags from the environment that were not given.
func (a *app) prepare(c *cobra.Command, _ []string) error {
	var errs []error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := environmentName(f.Name)
		value, set := a.getenv(name)
		if f.Changed || !set || value == "" || f.Name == "help" {
			return
		}
		if err := c.Flags().Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s=%q (--%s): %w", name, value, f.Name, err))
		}
	})
	if !slices.Contains([]string{"auto", "always", "never"}, a.color) {
		errs = append(errs, fmt.Errorf("--color %q: use auto, always or never", a.color))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a.started = true
	return nil
}

// flagError adds the nearest flag to the error about an unknown one.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return err
	}
	var names []string
	visit := func(f *pflag.Flag) { names = append(names, f.Name) }
	c.Flags().VisitAll(visit)
	c.InheritedFlags().VisitAll(visit)
	if near := actors.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return fmt.Errorf("%w. Did you mean --%s?", err, near)
	}
	return err
}

// knownCommand refuses what is no command, with the nearest one.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	if near := actors.Nearest(args[0], names); near != "" {
		return fmt.Errorf("there is no command %q. Did you mean %q?", args[0], near)
	}
	return fmt.Errorf("there is no command %q", args[0])
}

// between says how to call a command that got the wrong number of arguments.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("%s takes %s, and got %d arguments", c.CommandPath(), what, len(args))
		}
		return nil
	}
}
