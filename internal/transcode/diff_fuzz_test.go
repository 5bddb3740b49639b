package transcode_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

// fuzzFor makes TestDifferential run for this time, instead of a fixed number of cases.
var fuzzFor = flag.Duration("diff.for", 0, "how long TestDifferential runs; a fixed number of cases by default")

// A judge makes a case for a codec from a tape. The case is compared with the oracle.
type judge struct {
	name string
	make func(p *pair, tape *tape) trial
}

// A trial is an input, and the function that compares the codec with the oracle on that input or a
// part of it.
type trial struct {
	input   []byte
	compare func(input []byte) error // nil if the message type has no such case
}

var judges = []judge{
	{"json", func(p *pair, t *tape) trial {
		return trial{genJSON(t, p.schema, p.md, false), p.compareJSON}
	}},
	{"wild json", func(p *pair, t *tape) trial {
		return trial{genJSON(t, p.schema, p.md, true), p.compareJSON}
	}},
	{"damaged json", func(p *pair, t *tape) trial {
		text, err := p.oracle.WireToJSON(nil, genWire(t, p.schema, p.md, scrambled))
		if err != nil {
			return trial{}
		}
		g := &jsonGen{tape: t, schema: p.schema}
		return trial{g.damage(text), p.compareJSON}
	}},
	{"canonical wire", func(p *pair, t *tape) trial {
		return trial{genWire(t, p.schema, p.md, canonical), p.compareWire}
	}},
	{"scrambled wire", func(p *pair, t *tape) trial {
		return trial{genWire(t, p.schema, p.md, scrambled), p.compareWire}
	}},
	{"defective wire", func(p *pair, t *tape) trial {
		return trial{genWire(t, p.schema, p.md, defective), p.compareWire}
	}},
	{"round trip", func(p *pair, t *tape) trial {
		return trial{genWire(t, p.schema, p.md, t.n(wireLevels)), p.compareRoundTrip}
	}},
	{"field text", fieldTextTrial},
	{"field json", fieldJSONTrial},
	{"field of wire", fieldOfWireTrial},
	{"field mask", fieldMaskTrial},
	{"parts of wire", partsTrial},
	{"hidden fields", hiddenTrial},
}

// TestDifferential compares the codec with the oracle on generated cases. They are the same each
// time. With -diff.for it runs for that time, and the cases are new.
func TestDifferential(t *testing.T) {
	for _, j := range judges {
		t.Run(j.name, func(t *testing.T) {
			cases, seed := 1500, uint64(1)
			var end time.Time
			if *fuzzFor > 0 {
				end, seed = time.Now().Add(*fuzzFor/time.Duration(len(judges))), rand.Uint64()
			}
			rng := rand.New(rand.NewPCG(seed, 0))
			n := 0
			for ; n < cases || time.Now().Before(end); n++ {
				runJudge(t, j, rng)
				if t.Failed() {
					return
				}
			}
			if *fuzzFor > 0 {
				t.Logf("%d cases", n)
			}
		})
	}
}

func runJudge(t *testing.T, j judge, rng *rand.Rand) {
	t.Helper()
	data := binary.LittleEndian.AppendUint64(nil, rng.Uint64())
	root, opts := uint8(rng.UintN(256)), uint8(rng.UintN(optionBits))
	if rng.UintN(2) == 0 {
		opts = 0
	}
	p := pairOf(t, root, opts)
	trial := j.make(p, newTape(data))
	if trial.compare == nil || trial.compare(trial.input) == nil {
		return
	}
	report(t, p, shrink(trial))
}

// report fails the test with the result of a trial.
func report(t *testing.T, p *pair, trial trial) {
	t.Helper()
	if err := trial.compare(trial.input); err != nil {
		t.Errorf("%s, options %+v\ninput %q\n      %x\n%v", p.md.FullName(), p.opts, trial.input, trial.input, err)
	}
}

// shrink removes pieces of the input of a failing trial as long as the trial still fails.
func shrink(failing trial) trial {
	for size := len(failing.input) / 2; size > 0; {
		smaller := false
		for at := 0; at+size <= len(failing.input); {
			input := append(bytes.Clone(failing.input[:at]), failing.input[at+size:]...)
			if failing.compare(input) != nil {
				failing.input, smaller = input, true
			} else {
				at++
			}
		}
		if !smaller || size > 8 {
			size /= 2
		}
	}
	return failing
}

// FuzzJSONToWire compares the conversion of any bytes with the oracle.
func FuzzJSONToWire(f *testing.F) {
	addSeeds(f, func(p *pair, t *tape) []byte { return genJSON(t, p.schema, p.md, t.oneIn(3)) })
	f.Fuzz(func(t *testing.T, root, opts uint8, text []byte) {
		p := pairOf(t, root, opts)
		report(t, p, trial{text, p.compareJSON})
	})
}

// FuzzWireToJSON compares the conversion of any bytes with the oracle, in both directions.
func FuzzWireToJSON(f *testing.F) {
	addSeeds(f, func(p *pair, t *tape) []byte { return genWire(t, p.schema, p.md, t.n(wireLevels)) })
	f.Fuzz(func(t *testing.T, root, opts uint8, wire []byte) {
		p := pairOf(t, root, opts)
		report(t, p, trial{wire, p.compareWire})
		report(t, p, trial{wire, p.compareRoundTrip})
	})
}

// FuzzGenerated lets the fuzzing engine steer the generators.
func FuzzGenerated(f *testing.F) {
	addSeeds(f, func(p *pair, t *tape) []byte { return binary.LittleEndian.AppendUint64(nil, t.uint64()) })
	f.Fuzz(func(t *testing.T, root, opts uint8, choices []byte) {
		p := pairOf(t, root, opts)
		for _, j := range judges {
			if trial := j.make(p, newTape(bytes.Clone(choices))); trial.compare != nil {
				report(t, p, trial)
			}
		}
	})
}

// addSeeds adds three inputs for each message type, each with other options.
func addSeeds(f *testing.F, gen func(*pair, *tape) []byte) {
	f.Helper()
	s, err := loadSchema()
	if err != nil {
		f.Fatal(err)
	}
	for root := range s.roots {
		for i := range 3 {
			opts := uint8(root+7*i) % optionBits
			p := pairOf(f, uint8(root), opts)
			f.Add(uint8(root), opts, gen(p, newTape([]byte{byte(root), byte(i)})))
		}
	}
}
