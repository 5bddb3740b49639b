// Command conformance is the program under test for the official protobuf conformance suite: it
// answers the suite's runner on standard input and output with what package transcode makes of each
// JSON case. Binary and text cases, which are not transcoding, are skipped. run.sh builds it,
// fetches the suite and judges the result.
//
// It is not part of the gateway.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

func main() {
	protos := flag.String("protos", "", "directory of the suite's .proto files")
	useOracle := flag.Bool("oracle", false, "answer with protojson over dynamicpb, which proves the judge and not the codec")
	flag.Parse()
	if err := run(*protos, *useOracle); err != nil {
		fmt.Fprintln(os.Stderr, "conformance testee:", err)
		os.Exit(1)
	}
}

func run(protos string, useOracle bool) error {
	suite, err := loadSuite(protos)
	if err != nil {
		return err
	}
	t := &testee{suite: suite, codec: codecs(suite.types, useOracle)}
	if err := t.serve(os.Stdin, os.Stdout); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// A codec is what is judged: *transcode.Codec, or the oracle.
type codec interface {
	JSONToWire(dst, json []byte) ([]byte, error)
	WireToJSON(dst, wire []byte) ([]byte, error)
}

// codecs returns the source of codecs: by message type, and by whether unknown JSON fields are
// ignored.
func codecs(types transcode.Resolver, useOracle bool) func(protoreflect.MessageDescriptor, bool) (codec, error) {
	strict := transcode.Options{}
	lenient := transcode.Options{DiscardUnknown: true}
	if useOracle {
		return func(md protoreflect.MessageDescriptor, discard bool) (codec, error) {
			if discard {
				return oracle.New(md, types, lenient), nil
			}
			return oracle.New(md, types, strict), nil
		}
	}
	compilers := map[bool]*transcode.Compiler{
		false: transcode.NewCompiler(types, strict),
		true:  transcode.NewCompiler(types, lenient),
	}
	return func(md protoreflect.MessageDescriptor, discard bool) (codec, error) {
		return compilers[discard].Codec(md)
	}
}
