package actors

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// namesShownMax bounds how many names a text lists; more are only counted.
const namesShownMax = 20

// Describe tells in one line what a method takes: AddRequest { int64 delta }.
func Describe(m *Method) string { return DescribeMessage(m.Request.Descriptor()) }

// DescribeMessage tells in one line which fields a message has, by their names in
// JSON.
func DescribeMessage(md protoreflect.MessageDescriptor) string {
	fields := make([]string, md.Fields().Len())
	for i := range fields {
		fd := md.Fields().Get(i)
		fields[i] = fieldType(fd) + " " + fd.JSONName()
	}
	if len(fields) == 0 {
		return string(md.Name()) + " {}"
	}
	return string(md.Name()) + " { " + someOf(fields, "; ") + " }"
}

// fieldType tells the type of a field as a proto file does.
func fieldType(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsMap():
		return "map<" + scalarType(fd.MapKey()) + ", " + scalarType(fd.MapValue()) + ">"
	case fd.IsList():
		return "repeated " + scalarType(fd)
	case fd.HasOptionalKeyword():
		return "optional " + scalarType(fd)
	}
	return scalarType(fd)
}

// scalarType tells the type of one value of a field.
func scalarType(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.Message() != nil:
		return string(fd.Message().Name())
	case fd.Enum() != nil:
		return string(fd.Enum().Name())
	}
	return fd.Kind().String()
}

// Nearest finds the name among names that somebody who wrote name most likely
// meant; "" when none is near. At equal distance the earlier one wins.
func Nearest(name string, among []string) string {
	best, bestDistance := "", len(name)/3+2
	if len(name) > KindBytesMax {
		return ""
	}
	for _, candidate := range among {
		if len(candidate) > KindBytesMax {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < bestDistance && d < len(candidate) {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbors
// that lead from a to b.
func distance(a, b string) int {
	var older []int
	old := make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := old[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(old[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, old = old, row
	}
	return old[len(b)]
}

// suggestion ends a sentence about a wrong name, and adds one that names the
// nearest where there is one.
func suggestion(name string, among []string) string {
	if near := Nearest(name, among); near != "" {
		return fmt.Sprintf(". Did you mean %q?", near)
	}
	return "."
}

// someOf joins names, at most namesShownMax of them.
func someOf(names []string, separator string) string {
	if more := len(names) - namesShownMax; more > 0 {
		return strings.Join(names[:namesShownMax], separator) + fmt.Sprintf("%sand %d more", separator, more)
	}
	return strings.Join(names, separator)
}
