package actors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// jsonSpace is what JSON takes for white space.
const jsonSpace = " \t\r\n"

// explainJSON says for people why data is no request of m. protojson, which found
// err, knows neither the path nor the message around a fault, so the document is
// walked once more, along the descriptors, up to the first fault.
func explainJSON(m *Method, data []byte, err error) *Error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	x := explainer{method: m, data: data, dec: dec}
	e := x.root()
	if e == nil {
		// A fault of syntax or of value, such as a number out of range; protojson
		// names the place.
		e = invalidf("%s: the request is not valid: %s. %s", m, plainText(err), Describe(m))
	}
	e.Message = cut(validText(e.Message), faultTextBytesMax)
	e.Err = err
	return e
}

// faultTextBytesMax bounds the text about a fault, parts of which come from the
// caller.
const faultTextBytesMax = 2048

// explainer walks a document. Its methods return nil where they find no fault,
// and also where the document cannot be read on: then the fault is one of syntax.
type explainer struct {
	method *Method
	data   []byte
	dec    *json.Decoder
	depth  int
	// stuck is set when the document cannot be read on.
	stuck bool
}

func (x *explainer) root() *Error {
	md := x.method.Request.Descriptor()
	at, kind := x.next(), x.peek()
	if kind == "" || wellKnown(md) {
		return nil
	}
	if kind != "an object" {
		return x.fault(at, "the request is %s, not an object. %s", kind, DescribeMessage(md))
	}
	if e := x.message("", md); e != nil || x.stuck {
		return e
	}
	if at := x.next(); at < len(x.data) {
		return x.fault(at, "there is more after the request's end; send one JSON object")
	}
	return nil
}

// message walks an object that stands for a message.
func (x *explainer) message(path string, md protoreflect.MessageDescriptor) *Error {
	x.depth++
	defer func() { x.depth-- }()
	if x.depth > messageDepthMax || wellKnown(md) {
		x.skip()
		return nil
	}
	x.token()
	for !x.stuck && x.dec.More() {
		at := x.next()
		name, _ := x.token().(string)
		if x.stuck {
			return nil
		}
		fd := field(md, name)
		if fd == nil && !strings.HasPrefix(name, "[") {
			return x.unknownField(at, path, name, md)
		}
		if fd == nil { // An extension: protojson knows those.
			x.skip()
			continue
		}
		if e := x.field(join(path, name), fd); e != nil {
			return e
		}
	}
	x.token()
	return nil
}

// wellKnown reports whether d is one of protobuf's own types, which have JSON
// forms of their own.
func wellKnown(d protoreflect.Descriptor) bool { return d.FullName().Parent() == "google.protobuf" }

func field(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByTextName(name)
}

// field walks the value of a field, whatever its cardinality.
func (x *explainer) field(path string, fd protoreflect.FieldDescriptor) *Error {
	at := x.next()
	kind := x.peek()
	switch {
	case kind == "null":
		x.token()
		return nil
	case fd.IsMap() && kind != "an object", fd.IsList() && kind != "an array":
		return x.wrongType(at, path, fieldType(fd), kind, fd)
	case fd.IsMap():
		return x.entries(path, fd)
	case fd.IsList():
		return x.elements(path, fd)
	}
	return x.value(path, fd)
}

func (x *explainer) entries(path string, fd protoreflect.FieldDescriptor) *Error {
	x.token()
	for !x.stuck && x.dec.More() {
		key, _ := x.token().(string)
		if e := x.value(path+"["+strconv.Quote(key)+"]", fd.MapValue()); e != nil {
			return e
		}
	}
	x.token()
	return nil
}

func (x *explainer) elements(path string, fd protoreflect.FieldDescriptor) *Error {
	x.token()
	for i := 0; !x.stuck && x.dec.More(); i++ {
		if e := x.value(path+"["+strconv.Itoa(i)+"]", fd); e != nil {
			return e
		}
	}
	x.token()
	return nil
}

// value walks one value of a field's kind.
func (x *explainer) value(path string, fd protoreflect.FieldDescriptor) *Error {
	at := x.next()
	kind := x.peek()
	if md := fd.Message(); md != nil {
		if kind != "an object" && !wellKnown(md) {
			return x.wrongType(at, path, string(md.Name()), kind, fd)
		}
		return x.message(path, md)
	}
	ed := fd.Enum()
	if ed != nil && wellKnown(ed) {
		x.skip()
		return nil
	}
	if !accepts(fd.Kind(), kind) {
		return x.wrongType(at, path, scalarType(fd), kind, fd)
	}
	text, isString := x.token().(string)
	if ed != nil && isString && ed.Values().ByName(protoreflect.Name(text)) == nil {
		names := make([]string, ed.Values().Len())
		for i := range names {
			names[i] = string(ed.Values().Get(i).Name())
		}
		return x.fault(at, "%s has no value %q%s %s is one of %s",
			path, cut(text, KindBytesMax), suggestion(text, names), ed.Name(), someOf(names, ", "))
	}
	return nil
}

// accepts reports whether protobuf's JSON form of a scalar may be of this kind.
func accepts(want protoreflect.Kind, got string) bool {
	switch want {
	case protoreflect.BoolKind:
		return got == "a boolean"
	case protoreflect.StringKind, protoreflect.BytesKind:
		return got == "a string"
	default: // Numbers may be quoted, and enums numbered.
		return got == "a number" || got == "a string"
	}
}

func (x *explainer) unknownField(at int, path, name string, md protoreflect.MessageDescriptor) *Error {
	names := make([]string, md.Fields().Len())
	for i := range names {
		names[i] = md.Fields().Get(i).JSONName()
	}
	subject := x.method.String()
	if path != "" {
		subject += ": " + path
	}
	return invalidf("%s has no field %q (%s)%s %s", subject, cut(name, KindBytesMax), x.place(at),
		suggestion(name, names), DescribeMessage(md))
}

func (x *explainer) wrongType(at int, path, want, got string, fd protoreflect.FieldDescriptor) *Error {
	if got == "" {
		x.stuck = true
		return nil
	}
	return x.fault(at, "%s is of type %s, not %s. %s", path, want, got, DescribeMessage(fd.ContainingMessage()))
}

func (x *explainer) fault(at int, format string, args ...any) *Error {
	return invalidf("%s (%s): %s", x.method, x.place(at), fmt.Sprintf(format, args...))
}

// place gives an offset as "line 1:2", both counted from 1, columns in characters.
func (x *explainer) place(at int) string {
	before := x.data[:min(at, len(x.data))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:]))) + 1
	return fmt.Sprintf("line %d:%d", line, column)
}

// next gives the offset at which the next token starts.
func (x *explainer) next() int {
	rest := x.data[x.dec.InputOffset():]
	return len(x.data) - len(bytes.TrimLeft(rest, jsonSpace+",:"))
}

// peek tells the kind of the next value by its first byte; "" when it is none.
func (x *explainer) peek() string {
	at := x.next()
	if x.stuck || at >= len(x.data) {
		return ""
	}
	switch c := x.data[at]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't', c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-', isDigit(c):
		return "a number"
	}
	return ""
}

func (x *explainer) token() json.Token {
	t, err := x.dec.Token()
	if err != nil {
		x.stuck = true
	}
	return t
}

func (x *explainer) skip() {
	var value json.RawMessage
	if x.dec.Decode(&value) != nil {
		x.stuck = true
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
