package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/bench/codec/benchpb"
)

// A shape is a message in all the forms that the benchmarks need.
type shape struct {
	name     string
	msg      proto.Message // generated
	wire     []byte
	json     []byte // as protojson writes it, without white space
	shuffled []byte // the same with the keys of each object in random order
	plain    func() any
}

func shapes(tb testing.TB) []*shape {
	tb.Helper()
	all := []*shape{
		{name: "small", msg: benchpb.NewSmall(), plain: func() any { return new(plainSmall) }},
		{name: "list", msg: benchpb.NewList(200), plain: func() any { return new(plainList) }},
		{name: "strings", msg: stringHeavy(), plain: func() any { return new(plainStrings) }},
		{name: "numbers", msg: numberHeavy(), plain: func() any { return new(plainNumbers) }},
	}
	for _, s := range all {
		var err error
		if s.wire, err = (proto.MarshalOptions{Deterministic: true}).Marshal(s.msg); err != nil {
			tb.Fatal(err)
		}
		text, err := protojson.Marshal(s.msg)
		if err != nil {
			tb.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			tb.Fatal(err)
		}
		s.json = compact.Bytes()
		s.shuffled = shuffle(tb, rand.New(rand.NewPCG(1, 2)), s.json)
	}
	return all
}

func stringHeavy() *benchpb.Strings {
	rng := rand.New(rand.NewPCG(5, 6))
	s := &benchpb.Strings{Labels: map[string]string{}}
	for i := range 64 {
		line := benchpb.Words(rng, 4+rng.IntN(40))
		switch i % 8 {
		case 0:
			line += " \"quoted\"\tand\nbroken\\"
		case 1:
			line += " Grüße, 世界 😀"
		}
		s.Lines = append(s.Lines, line)
		s.Labels[fmt.Sprintf("label-%02d", i)] = benchpb.Words(rng, 3)
	}
	return s
}

func numberHeavy() *benchpb.Numbers {
	rng := rand.New(rand.NewPCG(7, 8))
	n := &benchpb.Numbers{}
	for i := range 500 {
		n.Ids = append(n.Ids, rng.Int64()>>(i%64))
		n.Counts = append(n.Counts, int32(rng.Uint32())>>(i%32))
		n.Marks = append(n.Marks, rng.Uint64()>>(i%64))
		sample := rng.NormFloat64() * 100
		if i%2 == 0 {
			sample = float64(int(sample*100)) / 100
		}
		n.Samples = append(n.Samples, sample)
	}
	return n
}

// shuffle returns the JSON text with the keys of each object in random order.
func shuffle(tb testing.TB, rng *rand.Rand, text []byte) []byte {
	tb.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out bytes.Buffer
	if err := shuffleValue(&out, rng, dec); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func shuffleValue(out *bytes.Buffer, rng *rand.Rand, dec *json.Decoder) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return writeScalar(out, tok)
	}
	var parts []string
	for dec.More() {
		var part bytes.Buffer
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			if err := writeScalar(&part, key); err != nil {
				return err
			}
			part.WriteByte(':')
		}
		if err := shuffleValue(&part, rng, dec); err != nil {
			return err
		}
		parts = append(parts, part.String())
	}
	end, err := dec.Token()
	if err != nil {
		return err
	}
	if open == '{' {
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	fmt.Fprintf(out, "%v%s%v", open, strings.Join(parts, ","), end)
	return nil
}

func writeScalar(out *bytes.Buffer, tok json.Token) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tok); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // the newline
	return nil
}
