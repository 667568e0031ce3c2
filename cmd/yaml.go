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
	if err := y.value("", false); err != nil {
		return nil, fmt.Errorf("output as YAML: %w", err)
	}
	return out.Bytes(), nil
}

type yamlWriter struct {
	dec *json.Decoder
	out *bytes.Buffer
}

// value writes the next value. inline says that something stands before it in the
// line: a key, or the dash of a list.
func (y *yamlWriter) value(indent string, inline bool) error {
	token, err := y.dec.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return y.scalar(token, inline)
	}
	if !y.dec.More() {
		if inline {
			y.out.WriteByte(' ')
		}
		y.out.WriteString(string(delim) + map[json.Delim]string{'{': "}", '[': "]"}[delim] + "\n")
		_, err = y.dec.Token()
		return err
	}
	if inline {
		y.out.WriteByte('\n')
	}
	for y.dec.More() {
		if delim == '[' {
			err = y.element(indent)
		} else {
			err = y.member(indent)
		}
		if err != nil {
			return err
		}
	}
	_, err = y.dec.Token()
	return err
}

func (y *yamlWriter) element(indent string) error {
	y.out.WriteString(indent + "-")
	return y.value(indent+"  ", true)
}

func (y *yamlWriter) member(indent string) error {
	key, err := y.dec.Token()
	if err != nil {
		return err
	}
	fmt.Fprintf(y.out, "%s%s:", indent, key)
	return y.value(indent+"  ", true)
}

func (y *yamlWriter) scalar(token json.Token, inline bool) error {
	text, err := json.Marshal(token)
	if err != nil {
		return err
	}
	if inline {
		y.out.WriteByte(' ')
	}
	y.out.WriteString(strings.TrimSpace(string(text)) + "\n")
	return nil
}
