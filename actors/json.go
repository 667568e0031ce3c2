package actors

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// DecodeJSON turns a request in protobuf's JSON form into a payload. Field names
// may be lowerCamelCase or as in the proto file. Nothing is tolerated in silence:
// an unknown field, a wrong type and trailing data each give an [*Error] that
// says CODE_INVALID, the place as line:column, and what would be right. An empty
// body is the empty message. Equal requests give equal payloads.
func (m *Method) DecodeJSON(data []byte) ([]byte, error) {
	req := m.Request.New().Interface()
	if len(bytes.TrimLeft(data, jsonSpace)) > 0 {
		err := protojson.UnmarshalOptions{RecursionLimit: messageDepthMax}.Unmarshal(data, req)
		if err != nil {
			return nil, explainJSON(m, data, err)
		}
	}
	payload, err := encode(nil, req)
	if err != nil {
		return nil, invalidf("%s: the request does not encode: %s", m, plainText(err))
	}
	return payload, nil
}

// EncodeJSON turns an encoded reply into protobuf's JSON form on one line, always
// in the same way: zero values included, 64-bit integers as strings, no spaces.
// Unknown fields have no JSON form and are left out.
func (m *Method) EncodeJSON(reply []byte) ([]byte, error) {
	rep := m.Reply.New().Interface()
	name := m.Reply.Descriptor().FullName()
	if err := proto.Unmarshal(reply, rep); err != nil {
		return nil, fmt.Errorf("%s: the reply is not a %s: %w; caller and behavior have different contracts", m, name, err)
	}
	loose, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(rep)
	if err != nil {
		return nil, fmt.Errorf("%s: the reply has no JSON form: %w", m, err)
	}
	// protojson puts spaces at random, so that nobody relies on its exact bytes.
	var line bytes.Buffer
	line.Grow(len(loose))
	if err := json.Compact(&line, loose); err != nil {
		return nil, fmt.Errorf("%s: the reply has no JSON form: %w", m, err)
	}
	return line.Bytes(), nil
}
