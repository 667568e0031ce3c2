package replica

import "fmt"

// invariant panics when a property that the code relies on is broken. The
// supervisor then restarts the replica from its log.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("replica: "+format, args...))
	}
}

// corrupt describes a row of the store that cannot be read.
func corrupt(what string, key []byte, err error) error {
	return fmt.Errorf("the %s at %x cannot be read: %w; the store is damaged: remove this node's data directory and let it come back as a new one", what, key, err)
}
