// Ringmaster runs clusters of actors. This program knows the kinds of the
// examples; yours is as long, with your own.
package main

import (
	"github.com/seed-49de4af9/ringmaster/cmd"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/register"
)

func main() { cmd.Main(counter.Behavior(), register.Behavior()) }
