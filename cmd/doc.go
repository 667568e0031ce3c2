// Package cmd is the command line of a program that runs behaviors:
//
//	func main() { cmd.Main(counter.Behavior()) }
//
// gives a program that starts nodes which know the kind "counter", and that looks
// at, calls and measures clusters.
//
// # Conventions
//
// Data goes to stdout, everything said about it to stderr. Each flag has an
// environment variable: --gossip-listen is RINGMASTER_GOSSIP_LISTEN; the flag
// wins. Exit codes are those of [ExitOK] and the following.
package cmd
