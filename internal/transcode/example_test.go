package transcode_test

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// A compiler belongs to a schema. A codec belongs to a message type, and a field to a path within
// it.
func Example() {
	compiler := transcode.NewCompiler(protoregistry.GlobalTypes, transcode.Options{UseProtoNames: true})
	codec, err := compiler.Codec((&descriptorpb.FieldDescriptorProto{}).ProtoReflect().Descriptor())
	if err != nil {
		fmt.Println(err)
		return
	}
	wire, err := codec.JSONToWire(nil, []byte(`{"name":"page_size","number":3,"label":"LABEL_OPTIONAL"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%x\n", wire)

	// A query parameter is appended to the message. Its value replaces the one from the body.
	number, err := codec.Field("number")
	if err != nil {
		fmt.Println(err)
		return
	}
	if wire, err = number.AppendQuery(wire, "4"); err != nil {
		fmt.Println(err)
		return
	}
	json, note, err := codec.AnswerToJSON(nil, wire)
	fmt.Println(string(json), note, err)

	_, err = codec.JSONToWire(nil, []byte(`{"number":"three"}`))
	fmt.Println(err)
	// Output:
	// 0a09706167655f73697a6518032001
	// {"name":"page_size","number":4,"label":"LABEL_OPTIONAL"} <nil> <nil>
	// /number: expected an integer of 32 bits, found string "three" (offset 10)
}
