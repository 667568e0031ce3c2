package actors_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/timestamppb" // Imported by orderFile.

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// orderFile is a contract with every sort of field there is.
const orderFile = `
name: "order.proto" package: "shop" syntax: "proto3"
dependency: "google/protobuf/timestamp.proto" dependency: "google/protobuf/struct.proto"
enum_type { name: "Size" value { name: "SIZE_UNSPECIFIED" number: 0 } value { name: "SIZE_SMALL" number: 1 } value { name: "SIZE_LARGE" number: 2 } }
message_type { name: "Item"
  field { name: "sku" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "unit_price" number: 2 label: LABEL_OPTIONAL type: TYPE_DOUBLE }
  field { name: "size" number: 3 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".shop.Size" }
}
message_type { name: "Order"
  field { name: "items" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".shop.Item" }
  field { name: "by_name" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".shop.Order.ByNameEntry" }
  field { name: "paid" number: 3 label: LABEL_OPTIONAL type: TYPE_BOOL }
  field { name: "note" number: 4 label: LABEL_OPTIONAL type: TYPE_BYTES }
  field { name: "at" number: 5 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" }
  field { name: "extra" number: 6 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".google.protobuf.Struct" }
  field { name: "gift_for" number: 7 label: LABEL_OPTIONAL type: TYPE_STRING proto3_optional: true oneof_index: 0 }
  field { name: "lines" number: 8 label: LABEL_REPEATED type: TYPE_INT32 }
  field { name: "first" number: 9 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".shop.Item" }
  field { name: "nothing" number: 10 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".google.protobuf.NullValue" }
  field { name: "again" number: 11 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".shop.Order" }
  oneof_decl { name: "_gift_for" }
  nested_type { name: "ByNameEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".shop.Item" }
  }
}
`

const orderText = "Order { repeated Item items; map<string, Item> byName; bool paid; bytes note; Timestamp at; Struct extra; " +
	"optional string giftFor; repeated int32 lines; Item first; NullValue nothing; Order again }"

func orderMethod(t testing.TB) *actors.Method {
	t.Helper()
	var file descriptorpb.FileDescriptorProto
	if err := prototext.Unmarshal([]byte(orderFile), &file); err != nil {
		t.Fatal(err)
	}
	fd, err := protodesc.NewFile(&file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	order := dynamicpb.NewMessageType(fd.Messages().ByName("Order"))
	return &actors.Method{Kind: "shop", Name: "Place", Request: order, Reply: order}
}

func methodOf(m proto.Message) *actors.Method {
	return &actors.Method{Kind: "test", Name: "Run", Request: m.ProtoReflect().Type(), Reply: m.ProtoReflect().Type()}
}

func TestDecodeJSONTakesRequests(t *testing.T) {
	order := orderMethod(t)
	for _, test := range []string{
		``, " \n\t", `{}`, ` { } `,
		`{"items":[{"sku":"a","unitPrice":1.5,"size":"SIZE_SMALL"},{"unit_price":"2","size":2}]}`,
		`{"byName":{"a":{"sku":"x"}},"paid":true,"note":"AAE=","at":"2024-05-01T12:00:00Z"}`,
		`{"extra":{"any":["thing",{"goes":null}]},"giftFor":"me","lines":[1,"2",3.0],"first":null,"nothing":null}`,
	} {
		payload, err := order.DecodeJSON([]byte(test))
		if err != nil {
			t.Errorf("%s: %v", test, err)
			continue
		}
		got, want := order.Request.New().Interface(), order.Request.New().Interface()
		if err := proto.Unmarshal(payload, got); err != nil {
			t.Errorf("%s: the payload does not decode: %v", test, err)
		}
		if strings.TrimSpace(test) != "" {
			if err := protojson.Unmarshal([]byte(test), want); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test, diff)
		}
	}
}

func TestDecodeJSONExplainsFaults(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		// Unknown fields, with the message around them and the nearest name.
		{`{"lins":[1]}`, `shop.Place has no field "lins" (line 1:2). Did you mean "lines"? ` + orderText},
		{"{\n  \"paid\": true,\n  \"xyzzy\": 1\n}", `shop.Place has no field "xyzzy" (line 3:3). ` + orderText},
		{
			`{"items":[{},{"sku":"é","unitprice":1}]}`,
			`shop.Place: items[1] has no field "unitprice" (line 1:25). Did you mean "unitPrice"? Item { string sku; double unitPrice; Size size }`,
		},
		{`{"byName":{"a \"b\"":{"zku":1}}}`, `shop.Place: byName["a \"b\""] has no field "zku" (line 1:23). Did you mean "sku"?`},
		{`{"again":{"again":{"first":{"id":1}}}}`, `shop.Place: again.again.first has no field "id" (line 1:29). Item {`},
		{`{"":1}`, `shop.Place has no field "" (line 1:2). Order {`},
		{`{"` + strings.Repeat("x", 5000) + `":1}`, `shop.Place has no field "` + strings.Repeat("x", 63) + `" (line 1:2). Order {`},
		// Wrong types.
		{`{"paid":"yes"}`, `shop.Place (line 1:9): paid is of type bool, not a string. ` + orderText},
		{`{"giftFor":1}`, `giftFor is of type string, not a number`},
		{`{"items":{}}`, `items is of type repeated Item, not an object`},
		{`{"items":[1]}`, `items[0] is of type Item, not a number. Order {`},
		{`{"byName":[]}`, `byName is of type map<string, Item>, not an array`},
		{`{"byName":{"a":true}}`, `byName["a"] is of type Item, not a boolean`},
		{`{"lines":[1,[2]]}`, `lines[1] is of type int32, not an array`},
		{`{"first":[]}`, `first is of type Item, not an array`},
		{`{"lines":[null]}`, `lines[0] is of type int32, not null`},
		{
			`{"first":{"size":"SIZE_LARG"}}`,
			`first.size has no value "SIZE_LARG". Did you mean "SIZE_LARGE"? Size is one of SIZE_UNSPECIFIED, SIZE_SMALL, SIZE_LARGE`,
		},
		{`{"first":{"size":{}}}`, `first.size is of type Size, not an object`},
		// Wrong values, placed by protojson.
		{`{"lines":["a"]}`, `shop.Place: the request is not valid: (line 1:11): invalid value for int32 field lines: "a". Order {`},
		{`{"lines":[99999999999]}`, `(line 1:11): invalid value for int32 field lines`},
		{`{"lines":[1.5]}`, `(line 1:11): invalid value for int32`},
		{`{"at":"yesterday"}`, `(line 1:7): invalid google.protobuf.Timestamp value`},
		{`{"at":7}`, `(line 1:7): `},
		{`{"paid":true,"paid":true}`, `(line 1:14): duplicate field "paid"`},
		{`{"note":"%"}`, `(line 1:9): invalid value for bytes`},
		// The document as a whole.
		{`{} {}`, `shop.Place (line 1:4): there is more after the request's end; send one JSON object`},
		{"{}\nx", `shop.Place (line 2:1): there is more after`},
		{`[]`, `shop.Place (line 1:1): the request is an array, not an object. Order {`},
		{`null`, `the request is null, not an object`},
		{`7`, `the request is a number, not an object`},
		{`{"paid":`, `shop.Place: the request is not valid: unexpected EOF. Order {`},
		{`{"paid"`, `shop.Place: the request is not valid: unexpected EOF. Order {`},
		{`{"giftFor":"a" "b"}`, `shop.Place: the request is not valid: syntax error (line 1:16)`},
		{`{,}`, `shop.Place: the request is not valid: syntax error (line 1:2)`},
		{`{"paid":true,}`, `shop.Place: the request is not valid: syntax error (line 1:14)`},
		{`{"paid":tru}`, `shop.Place: the request is not valid: syntax error (line 1:9): invalid value tru`},
		{`{paid:true}`, `(line 1:2)`},
		{`{"items":[}`, `(line 1:11)`},
		{`}`, `(line 1:1)`},
		{"{\"giftFor\":\"\xff\"}", `invalid UTF-8`},
		{`{"[x.y]":1}`, `(line 1:2)`},
		{strings.Repeat(`{"again":`, 150) + "{}" + strings.Repeat("}", 150), `exceeded max recursion depth`},
		{strings.Repeat(`[`, 100000), `the request is an array`},
	} {
		_, err := orderMethod(t).DecodeJSON([]byte(test.body))
		if actors.CodeOf(err) != messages.Code_CODE_INVALID || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.200s\n got %v\nwant %s", test.body, err, test.want)
		}
		if err != nil && len(err.Error()) > 3000 {
			t.Errorf("%.200s: the text has %d bytes", test.body, len(err.Error()))
		}
	}
}

func TestDecodeJSONGivesEqualPayloadsForEqualRequests(t *testing.T) {
	order := orderMethod(t)
	var first []byte
	for i := range 20 {
		payload, err := order.DecodeJSON([]byte(`{"extra":{"a":1,"b":2,"c":3},"byName":{"x":{},"y":{},"z":{}},"items":[{}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = payload
		}
		if string(first) != string(payload) {
			t.Fatalf("got %x, then %x", first, payload)
		}
	}
}

func TestEncodeJSON(t *testing.T) {
	for _, test := range []struct {
		reply proto.Message
		want  string
	}{
		{&messages.ReplicaAddress{}, `{"replicaId":"0","nodeId":""}`},
		{&messages.ReplicaAddress{ReplicaId: 1 << 60, NodeId: "a b\n<ü>"}, `{"replicaId":"1152921504606846976","nodeId":"a b\n<ü>"}`},
		{&messages.AssignRequest{}, `{"epoch":"0","assignments":[],"nextReplicaId":"0","reason":""}`},
		{&messages.RegisterMemberRequest{}, `{"member":null}`},
		{&messages.BootstrapAnswer{Accepted: true}, `{"nodeId":"","clusterId":"","accepted":true,"reason":"","plan":"","heldProposer":""}`},
		{&messages.GetTableRequest{}, `{}`},
	} {
		payload, err := proto.Marshal(test.reply)
		if err != nil {
			t.Fatal(err)
		}
		got, err := methodOf(test.reply).EncodeJSON(payload)
		if err != nil || string(got) != test.want {
			t.Errorf("got %s, %v, want %s", got, err, test.want)
		}
	}
	if _, err := methodOf(&messages.Member{}).EncodeJSON([]byte{0xff}); err == nil || !strings.Contains(err.Error(), "not a ringmaster.Member") {
		t.Errorf("got %v for bytes that are no message", err)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	method := orderMethod(t)
	body := `{"items":[{"sku":"a","unitPrice":0.1,"size":"SIZE_LARGE"}],"byName":{"b":{"sku":"c","unitPrice":0,"size":"SIZE_UNSPECIFIED"}},` +
		`"paid":true,"note":"AAE=","at":"2024-05-01T12:00:00Z","extra":{"k":[1,null]},"giftFor":"","lines":[-1],"first":null,"nothing":null,"again":null}`
	payload, err := method.DecodeJSON([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := method.EncodeJSON(payload)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != body || !json.Valid(got) {
		t.Errorf("got  %s\nwant %s", got, body)
	}
}

func TestDescribe(t *testing.T) {
	if got := actors.Describe(orderMethod(t)); got != orderText {
		t.Errorf("got  %s\nwant %s", got, orderText)
	}
	for want, m := range map[string]proto.Message{
		"GetTableRequest {}": &messages.GetTableRequest{},
		"BootstrapAnswer { string nodeId; string clusterId; bool accepted; string reason; string plan; string heldProposer }": &messages.BootstrapAnswer{},
	} {
		if got := actors.DescribeMessage(m.ProtoReflect().Descriptor()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	many := (&descriptorpb.FileOptions{}).ProtoReflect().Descriptor()
	more := many.Fields().Len() - 20
	if got := actors.DescribeMessage(many); more <= 0 || !strings.HasSuffix(got, fmt.Sprintf("; and %d more }", more)) {
		t.Errorf("got %s, want %d of its fields only counted", got, more)
	}
}

func TestNearest(t *testing.T) {
	fields := []string{"delta", "nodeId", "clusterId"}
	for name, want := range map[string]string{
		"delat": "delta", "DELTA": "delta", "dleta": "delta", "node_id": "nodeId", "clusterID": "clusterId",
		"value": "", "x": "", "": "", strings.Repeat("delta", 20): "",
	} {
		if got := actors.Nearest(name, fields); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
