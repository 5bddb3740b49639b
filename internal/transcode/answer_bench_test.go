package transcode_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// answersToWrite are messages of 30 bytes, 700 bytes and 13 KiB.
func answersToWrite(b *testing.B) map[string]benchAnswer {
	b.Helper()
	descriptor, err := proto.Marshal(protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto))
	if err != nil {
		b.Fatal(err)
	}
	var kids []byte
	for i := range 20 {
		kids = append(kids, field(50, concat(field(1, []byte{'k', byte('a' + i)}), field(2, wireOf(b, namesType, `{"alpha":"some text","mike":7,"a":"more text"}`))))...)
	}
	return map[string]benchAnswer{
		"Book":       {codecOf(b, bookType, transcode.Options{}), wireOf(b, bookType, book), "name,author.name"},
		"Names":      {codecOf(b, namesType, transcode.Options{}), kids, "kids.*.alpha"},
		"Descriptor": {codecOf(b, "google.protobuf.FileDescriptorProto", transcode.Options{}), descriptor, "name,messageType.field.name"},
	}
}

type benchAnswer struct {
	codec *transcode.Codec
	wire  []byte
	mask  string
}

// BenchmarkWholeAnswer writes whole messages.
func BenchmarkWholeAnswer(b *testing.B) {
	for name, a := range answersToWrite(b) {
		b.Run(name, func(b *testing.B) { a.write(b, func() *transcode.Codec { return a.codec }) })
	}
}

func (a *benchAnswer) write(b *testing.B, codec func() *transcode.Codec) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		var err error
		if buf, _, err = codec().AnswerToJSON(buf[:0], a.wire); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(buf)), "B/answer")
}
