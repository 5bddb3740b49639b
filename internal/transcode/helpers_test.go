package transcode_test

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// codecOf returns the codec of a message type of the tests' schema.
func codecOf(tb testing.TB, name protoreflect.FullName, opts transcode.Options) *transcode.Codec {
	tb.Helper()
	s, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	mt, err := s.types.FindMessageByName(name)
	if err != nil {
		tb.Fatalf("find %q: %v", name, err)
	}
	codec, err := transcode.NewCompiler(s.types, opts).Codec(mt.Descriptor())
	if err != nil {
		tb.Fatal(err)
	}
	return codec
}

func fieldOf(tb testing.TB, codec *transcode.Codec, path string) *transcode.Field {
	tb.Helper()
	field, err := codec.Field(path)
	if err != nil {
		tb.Fatal(err)
	}
	return field
}
