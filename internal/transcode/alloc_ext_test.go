//go:build !race

package transcode_test

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// TestNoAllocation converts messages with everything but Any. Nothing is allocated once the pools
// are filled and the output has room. The test is not run with the race detector, because pools
// then drop items at random.
func TestNoAllocation(t *testing.T) {
	for _, tt := range []struct {
		message protoreflect.FullName
		json    string
	}{
		{bookType, `{"name":"a\u00e9\n","id":"-12345678901234567","state":"OPEN_ONE","created":"2006-01-02T15:04:05.123Z","tags":["a","b"],"author":{"years":[1,2.0,3e1]}}`},
		{bookType, `{ "author" : { "years" : [ 1 ] } , "tags" : [ "x" ] , "id" : 1 }`},
		{mapsType, `{"byString":{"b":1,"a":"OPEN_NEG","c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0},"byUint32":{"1":"AQID","0":"_-8"},"byUint64":{"9":1.2345678901234567}}`},
		{knownType, `{"value":{"a":[1,"x",null,true,{"b":{}}]},"choice":{"mask":"a,bC"},"durations":{"k":"1.5s"}}`},
		{namesType, `{"zulu":"z","child":{"maybe":"x","kids":{"k":{"alpha":"a"}}},"hotel":1}`},
	} {
		codec := codecOf(t, tt.message, transcode.Options{})
		wire, err := codec.JSONToWire(nil, []byte(tt.json))
		if err != nil {
			t.Fatal(err)
		}
		text, err := codec.WireToJSON(nil, wire)
		if err != nil {
			t.Fatal(err)
		}
		for name, convert := range map[string]func(buf []byte) ([]byte, error){
			"JSON to wire": func(buf []byte) ([]byte, error) { return codec.JSONToWire(buf, []byte(tt.json)) },
			"wire to JSON": func(buf []byte) ([]byte, error) { return codec.WireToJSON(buf, wire) },
		} {
			input := []byte(tt.json)
			if name == "JSON to wire" {
				convert = func(buf []byte) ([]byte, error) { return codec.JSONToWire(buf, input) }
			}
			buf := make([]byte, 0, 2*len(text)+len(wire)+1000)
			got := testing.AllocsPerRun(100, func() {
				if _, err := convert(buf); err != nil {
					t.Error(err)
				}
			})
			if got != 0 {
				t.Errorf("%s of %s: %.0f allocations", name, tt.json, got)
			}
		}
	}
}
