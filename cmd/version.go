package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is that of this source. Nodes tell it to each other, for people.
const version = "0.1.0"

// versionView is what version prints as JSON.
type versionView struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionView() versionView {
	v := versionView{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true" && v.Commit != "":
			v.Commit += "+changes"
		}
	}
	return v
}

func (a *app) versionCommand() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:     "version",
		Short:   "Say which version this is",
		Example: "  ringmaster version\n  ringmaster version -o json",
		Args:    between(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			v := newVersionView()
			return a.print(&out, v, func(p *page) {
				commit := v.Commit
				if commit == "" {
					commit = "unknown"
				}
				p.linef("ringmaster %s (commit %s, %s, %s)", v.Version, commit, v.Go, v.Platform)
			}, func() []string { return []string{fmt.Sprint(v.Version)} })
		},
	}
	out.flags(c)
	return c
}
