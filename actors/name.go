package actors

import (
	"unicode"
	"unicode/utf8"
)

const (
	// KindBytesMax bounds a kind's name and a method's name. They are written
	// into every log entry and row, and shown in tables.
	KindBytesMax = 63
	// KeyBytesMax bounds an actor's key, in bytes. It is part of every row's key
	// on disk; long names do better as digests.
	KeyBytesMax = 512
	// SystemKind is the kind of the ring's own actor. No behavior of a user may
	// have it: whoever assembles a node refuses.
	SystemKind = "ring"
)

// ActorID names one actor in the cluster.
type ActorID struct {
	Kind string
	// Key is the actor's name within its kind.
	Key string
}

// String gives kind/key, as people write it.
func (id ActorID) String() string { return id.Kind + "/" + id.Key }

// ValidateKind reports what is wrong with a kind's name: it is 1 to 63
// characters of a-z, 0-9, _ and -, and starts with a letter. The error is an
// [*Error] that says CODE_INVALID.
func ValidateKind(kind string) error {
	switch {
	case kind == "":
		return invalidf("the kind is empty; give the name of a behavior, such as \"counter\"")
	case len(kind) > KindBytesMax:
		return invalidf("the kind %.20q… has %d bytes; at most %d are allowed", kind, len(kind), KindBytesMax)
	}
	for i := range len(kind) {
		c := kind[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !isDigit(c) && c != '_' && c != '-') {
			return invalidf("the kind %q is not a name: use a-z, 0-9, _ and -, and start with a letter", kind)
		}
	}
	return nil
}

// ValidateKey reports what is wrong with an actor's key: it is 1 to 512 bytes of
// UTF-8 without control characters. The error is an [*Error] that says
// CODE_INVALID.
func ValidateKey(key string) error {
	if key == "" {
		return invalidf("the key is empty; a key is 1 to %d bytes of UTF-8", KeyBytesMax)
	}
	if len(key) > KeyBytesMax {
		return invalidf("the key %.20q… has %d bytes; at most %d are allowed", key, len(key), KeyBytesMax)
	}
	for i := 0; i < len(key); {
		if c := key[i]; c >= ' ' && c < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(key[i:])
		if r == utf8.RuneError && size == 1 {
			return invalidf("the key %q is not valid UTF-8 at byte %d", key, i)
		}
		if unicode.IsControl(r) {
			return invalidf("the key %q has a control character at byte %d; keys are printable text", key, i)
		}
		i += size
	}
	return nil
}

// validMethod reports whether a method's name is 1 to 63 letters, digits and
// underscores, starting with a letter, as in protobuf.
func validMethod(name string) bool {
	if name == "" || len(name) > KindBytesMax {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !isDigit(c) && c != '_') {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
