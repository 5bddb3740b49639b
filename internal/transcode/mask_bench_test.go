package transcode_test

import (
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// BenchmarkPartialAnswer writes parts of the messages of BenchmarkWholeAnswer, with the look-up of
// the mask.
func BenchmarkPartialAnswer(b *testing.B) {
	for name, a := range answersToWrite(b) {
		b.Run(name, func(b *testing.B) {
			a.write(b, func() *transcode.Codec {
				codec, err := a.codec.Mask(a.mask)
				if err != nil {
					b.Fatal(err)
				}
				return codec
			})
		})
	}
}

// BenchmarkCompileMask compiles masks that are too long to be kept.
func BenchmarkCompileMask(b *testing.B) {
	for name, a := range answersToWrite(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			mask := a.mask + strings.Repeat(" ", 300)
			for b.Loop() {
				if _, err := a.codec.Mask(mask); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFilter copies the messages, with a filter that removes something and with one that looks
// into everything in vain.
func BenchmarkFilter(b *testing.B) {
	for name, hidden := range map[string]string{"removed": "google.protobuf.FieldDescriptorProto.json_name", "vain": "google.protobuf.UninterpretedOption.NamePart.is_extension"} {
		b.Run(name, func(b *testing.B) {
			a := answersToWrite(b)["Descriptor"]
			s, err := loadSchema()
			if err != nil {
				b.Fatal(err)
			}
			filter := transcode.NewCompiler(s.types, transcode.Options{Hidden: hidden}).Filter(a.codec.Descriptor())
			b.ReportAllocs()
			b.SetBytes(int64(len(a.wire)))
			var buf []byte
			for b.Loop() {
				if buf, err = filter.Append(buf[:0], a.wire); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
