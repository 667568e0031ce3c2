package cmd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
)

// callTimeout is how long call waits: above what a fail-over takes.
const callTimeout = 5 * time.Second

func (a *app) callCommand() *cobra.Command {
	var r remote
	var out output
	var idempotencyKey string
	var receipt bool
	c := &cobra.Command{
		Use:   "call KIND/KEY METHOD [JSON|@FILE|-]",
		Short: "Call one method of an actor",
		Long: `Sends the request, a JSON object, and prints the reply as JSON. Without a
request the empty object is sent. 64-bit integers are strings in replies.

Each call has an idempotency key, so that it runs at most once however many
nodes are asked; give the key yourself to repeat a call safely later.`,
		Example: `  ringmaster call counter/alice Add '{"delta":1}'
  ringmaster call counter/alice Get
  ringmaster call register/motd Write @motd.json
  ringmaster call counter/alice Add '{"delta":1}' --idempotency-key order-42`,
		Args: between(2, 3, "KIND/KEY METHOD [JSON|@FILE|-]"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			kind, key, ok := strings.Cut(args[0], "/")
			if !ok || kind == "" || key == "" {
				return exitf(ExitUsage, "%q is no actor; write KIND/KEY, such as counter/alice", args[0])
			}
			body, err := a.requestBody(args)
			if err != nil {
				return err
			}
			if idempotencyKey == "" {
				idempotencyKey = rand.Text()
			}
			nodes, err := r.caller()
			if err != nil {
				return err
			}
			defer nodes.close()
			path := "/v1/actors/" + url.PathEscape(kind) + "/" + url.PathEscape(key) + "/" + url.PathEscape(args[1])
			header, reply, err := nodes.first(c.Context(), http.MethodPost, path, body, map[string]string{
				api.HeaderIdempotencyKey: idempotencyKey,
				api.HeaderRequestTimeout: r.timeout.String(),
			})
			if err != nil {
				return explained(err, kind)
			}
			if receipt || out.format == "wide" {
				a.say("answered by %s: partition %s, term %s, index %s", header.Get(api.HeaderNode), header.Get(api.HeaderPartition),
					header.Get(api.HeaderTerm), header.Get(api.HeaderIndex))
			}
			return a.printReply(&out, reply)
		},
		ValidArgsFunction: a.completeCall,
	}
	r.flags(c, callTimeout, "how long to wait for the reply")
	out.flags(c)
	c.Flags().StringVar(&idempotencyKey, "idempotency-key", "", "name of this call, for repeating it safely; default: a random one")
	c.Flags().BoolVarP(&receipt, "receipt", "r", false, "say which node answered, on stderr")
	return c
}

// printReply prints a reply: on one line, unless another form is asked for.
func (a *app) printReply(out *output, reply []byte) error {
	line := strings.TrimSpace(string(reply))
	format := out.format
	if format == "table" || format == "wide" || format == "name" {
		format = "jsonl"
	}
	text, err := a.render(format, json.RawMessage(line), nil, nil)
	if err != nil {
		return fmt.Errorf("the reply is no JSON: %w", err)
	}
	_, err = a.streams.Out.Write(text)
	return err
}

// requestBodyMax bounds what is read from a file or stdin: above any node's limit.
const requestBodyMax = 64 << 20

// requestBody is the request that the arguments name.
func (a *app) requestBody(args []string) (string, error) {
	if len(args) < 3 {
		return "", nil
	}
	in := a.streams.In
	switch name, isFile := strings.CutPrefix(args[2], "@"); {
	case isFile:
		f, err := os.Open(name)
		if err != nil {
			return "", exitf(ExitUsage, "the request: %w", err)
		}
		defer f.Close()
		in = f
	case args[2] != "-":
		return args[2], nil
	}
	text, err := io.ReadAll(io.LimitReader(in, requestBodyMax))
	if err != nil {
		return "", exitf(ExitUsage, "the request: %w", err)
	}
	return string(text), nil
}

// explained says where to look after a mistake about a kind.
func explained(err error, kind string) error {
	var p *problemError
	if !errors.As(err, &p) || (p.Code != "invalid" && p.Code != "not_found") {
		return err
	}
	hint := "ringmaster kinds"
	if p.Code == "invalid" {
		hint += " describe " + kind
	}
	return &exitError{exitOfProblem(p), fmt.Errorf("%w\n  see: %s", err, hint)}
}

// completeCall completes kinds and methods from those that this program has.
func (a *app) completeCall(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	switch len(args) {
	case 0:
		for _, b := range a.behaviors {
			words = append(words, b.Kind()+"/")
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	case 1:
		kind, _, _ := strings.Cut(args[0], "/")
		if b := a.behavior(kind); b != nil {
			for _, m := range b.Methods() {
				words = append(words, m.Name)
			}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// behavior is that of a kind in this program, or nil.
func (a *app) behavior(kind string) *actors.Behavior {
	for _, b := range a.behaviors {
		if b.Kind() == kind {
			return b
		}
	}
	return nil
}

func (a *app) kindsCommand() *cobra.Command {
	var v view
	list := func(c *cobra.Command, only string) error {
		return v.run(c.Context(), a, func(ctx context.Context, c *caller) (*shown, error) {
			k, err := get[api.KindsView](ctx, c, "/v1/kinds")
			if err != nil {
				return nil, err
			}
			return showKinds(&k, only)
		})
	}
	c := &cobra.Command{
		Use:     "kinds",
		Short:   "List the kinds of actors, their methods and messages",
		Example: "  ringmaster kinds\n  ringmaster kinds describe counter",
		Args:    between(0, 0, "no arguments, or 'describe KIND'"),
		RunE:    func(c *cobra.Command, _ []string) error { return list(c, "") },
	}
	describe := &cobra.Command{
		Use:               "describe KIND",
		Short:             "Say what a kind's methods take and give",
		Example:           "  ringmaster kinds describe counter\n  ringmaster kinds describe counter -o json",
		Args:              between(1, 1, "one kind"),
		RunE:              func(c *cobra.Command, args []string) error { return list(c, args[0]) },
		ValidArgsFunction: a.completeKinds,
	}
	v.flags(c)
	v.flags(describe)
	c.AddCommand(describe)
	return c
}

func (a *app) completeKinds(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, b := range a.behaviors {
		if len(args) == 0 {
			words = append(words, b.Kind())
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// showKinds shows all kinds, or describes the one given.
func showKinds(k *api.KindsView, only string) (*shown, error) {
	var names []string
	for _, kind := range k.Kinds {
		names = append(names, kind.Kind)
	}
	if only == "" {
		return &shown{value: k, text: func(p *page) { kindsText(p, k.Kinds) }, names: func() []string { return names }}, nil
	}
	for _, kind := range k.Kinds {
		if kind.Kind == only {
			return &shown{value: kind, text: func(p *page) { describeText(p, &kind) }, names: func() []string { return []string{only} }}, nil
		}
	}
	text := fmt.Sprintf("there is no kind %q; there is %s", only, strings.Join(names, ", "))
	if near := actors.Nearest(only, names); near != "" {
		text += fmt.Sprintf(". Did you mean %q?", near)
	}
	return nil, exitf(ExitNotFound, "%s", text)
}

func kindsText(p *page, kinds []api.KindView) {
	var rows [][]string
	for _, k := range kinds {
		var methods []string
		for _, m := range k.Methods {
			methods = append(methods, m.Name)
		}
		rows = append(rows, []string{k.Kind, fmt.Sprint(k.Version), strings.Join(methods, " ")})
	}
	p.table([]string{"KIND", "VERSION", "METHODS"}, rows)
}

func describeText(p *page, k *api.KindView) {
	p.linef("%s, version %d", k.Kind, k.Version)
	p.linef("  state  %s", k.State)
	var rows [][]string
	for _, m := range k.Methods {
		sort := "command"
		if m.Query {
			sort = "query"
		}
		rows = append(rows, []string{m.Name, sort, m.Request, m.Reply})
	}
	p.linef("")
	p.table([]string{"METHOD", "SORT", "TAKES", "GIVES"}, rows)
	p.linef("")
	p.linef("64-bit integers are strings in JSON replies; requests may use numbers.")
}
