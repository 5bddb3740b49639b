package transcode

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// interestingFloats are near the limits of the different ways to write and read numbers.
func interestingFloats(rng *rand.Rand) []float64 {
	floats := []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, 0.2, 0.3, 1.0 / 3, 0.5, 0.001, 0.0009999, 1e-6, 9.99e-7, 1e-7, 1e-9, 123.456, 99.99, 1e9, 1e9 - 0.5,
		999999999.999999, 1e12, 1e12 - 0.001, 1e15, 1e15 - 1, 1e20, 1e21, 1e22, 1e23, 123456789.125, 3999.999, 4000, 3.4e38,
		math.MaxFloat64, math.SmallestNonzeroFloat64, math.MaxFloat32, math.SmallestNonzeroFloat32, 1 << 53, 1<<53 + 2, 16777216, 16777217,
		math.Inf(1), math.Inf(-1), math.NaN(),
	}
	for range 5000 {
		m := rng.Int64N(pow10i(1 + rng.IntN(17)))
		floats = append(floats, float64(m)/math.Pow10(rng.IntN(9)), math.Float64frombits(rng.Uint64()), float64(math.Float32frombits(rng.Uint32())))
		short := float64(rng.IntN(1e9)) / math.Pow10(rng.IntN(7))
		floats = append(floats, short, math.Nextafter(short, 0), math.Nextafter(short, 1e300), float64(float32(short)))
	}
	return floats
}

func pow10i(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

func TestFloatsAreWrittenAsStrconvDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, v := range interestingFloats(rng) {
		if got, want := string(appendFloat64(nil, v)), string(appendFloat(nil, v, 64)); got != want {
			t.Errorf("double %x: wrote %s, want %s", math.Float64bits(v), got, want)
		}
		f := float32(v)
		if got, want := string(appendFloat32(nil, f)), string(appendFloat(nil, float64(f), 32)); got != want {
			t.Errorf("float %x: wrote %s, want %s", math.Float32bits(f), got, want)
		}
	}
}

func TestFloatsAreReadAsStrconvDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	texts := []string{"0", "-0", "0.0", "1e400", "-1e400", "1e-400", "3.5e38", "3.4028235677973366e38", "1e5", "123456789012345678901234567890", "0.1e-5"}
	for _, v := range interestingFloats(rng) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		texts = append(texts, strconv.FormatFloat(v, 'f', -1, 64), strconv.FormatFloat(v, 'e', -1, 64))
		if math.Abs(v) < math.MaxFloat32 {
			texts = append(texts, strconv.FormatFloat(v, 'f', -1, 32))
		}
	}
	d := &decoder{c: NewCompiler(nil, Options{})}
	for _, text := range texts {
		want, err := strconv.ParseFloat(text, 64)
		d.in = []byte(text + ",")
		got, p := d.float64(0)
		if (p > 0) != (err == nil) || p > 0 && got != math.Float64bits(want) {
			t.Errorf("double %s: read %v, want %v, %v", text, math.Float64frombits(got), want, err)
		}
		want, err = strconv.ParseFloat(text, 32)
		got, p = d.float32(0)
		if (p > 0) != (err == nil) || p > 0 && got != uint64(math.Float32bits(float32(want))) {
			t.Errorf("float %s: read %v, want %v, %v", text, math.Float32frombits(uint32(got)), want, err)
		}
	}
}

func TestIntegersAreWrittenAsStrconvDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	numbers := []uint64{0, 9, 10, 11, 99, 100, 101, 1e8 - 1, 1e8, 1e8 + 1, 1e16 - 1, 1e16, 1e16 + 1, math.MaxInt64, 1 << 63, math.MaxUint64}
	for range 100_000 {
		numbers = append(numbers, rng.Uint64()>>rng.IntN(64))
	}
	for _, v := range numbers {
		if got, want := string(appendUint(nil, v)), strconv.FormatUint(v, 10); got != want {
			t.Errorf("wrote %s, want %s", got, want)
		}
		if got, want := string(appendInt(nil, int64(v))), strconv.FormatInt(int64(v), 10); got != want {
			t.Errorf("wrote %s, want %s", got, want)
		}
	}
}
