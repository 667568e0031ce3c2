package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// yamlOf writes a JSON document as YAML, in the same order. Scalars stay as they
// are in JSON, which is YAML too.
func yamlOf(document []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.UseNumber()
	var out bytes.Buffer
	y := yamlWriter{dec: dec, out: &out}
	if err := y.value("", atStart); err != nil {
		return nil, fmt.Errorf("output as YAML: %w", err)
	}
	return out.Bytes(), nil
}

type yamlWriter struct {
	dec *json.Decoder
	out *bytes.Buffer
}

// Where a value stands.
const (
	atStart   = iota // at the start of a line, with nothing before it
	afterKey         // behind a key and its colon
	afterDash        // behind the dash of a list
)

// value writes the next value; its lines are indented.
func (y *yamlWriter) value(indent string, where int) error {
	token, err := y.dec.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return y.scalar(token, where)
	}
	if !y.dec.More() {
		if where != atStart {
			y.out.WriteByte(' ')
		}
		y.out.WriteString(string(delim) + map[json.Delim]string{'{': "}", '[': "]"}[delim] + "\n")
		_, err = y.dec.Token()
		return err
	}
	if where == afterKey {
		y.out.WriteByte('\n')
	}
	// The first line of what follows a dash stands behind it.
	lead := indent
	if where == afterDash {
		lead = " "
	}
	for y.dec.More() {
		if delim == '[' {
			y.out.WriteString(lead + "-")
			err = y.value(indent+"  ", afterDash)
		} else {
			err = y.member(lead, indent)
		}
		if err != nil {
			return err
		}
		lead = indent
	}
	_, err = y.dec.Token()
	return err
}

func (y *yamlWriter) member(lead, indent string) error {
	key, err := y.dec.Token()
	if err != nil {
		return err
	}
	fmt.Fprintf(y.out, "%s%s:", lead, key)
	return y.value(indent+"  ", afterKey)
}

func (y *yamlWriter) scalar(token json.Token, where int) error {
	text, err := json.Marshal(token)
	if err != nil {
		return err
	}
	if where != atStart {
		y.out.WriteByte(' ')
	}
	y.out.WriteString(strings.TrimSpace(string(text)) + "\n")
	return nil
}
