package transcode

import (
	"math"
	"strconv"
	"time"
)

// lenientScalar is scalarOfText for the texts that Go's package strconv takes and ProtoJSON does
// not, such as True and 1 for a bool, 007 for an integer, and .5 for a float. See
// Options.LenientText.
func lenientScalar(f *field, text string) (uint64, bool) {
	switch f.kind {
	case kindBool:
		v, err := strconv.ParseBool(text)
		return uint64(boolBit(v)), err == nil
	case kindFloat:
		v, err := strconv.ParseFloat(text, 32)
		return uint64(math.Float32bits(float32(v))), err == nil
	case kindDouble:
		v, err := strconv.ParseFloat(text, 64)
		return math.Float64bits(v), err == nil
	case kindInt32, kindSfixed32, kindInt64, kindSfixed64:
		v, err := strconv.ParseInt(text, 10, bitsOf(f.kind))
		return uint64(v), err == nil
	case kindSint32, kindSint64:
		v, err := strconv.ParseInt(text, 10, bitsOf(f.kind))
		return zigzag(v), err == nil
	case kindUint32, kindFixed32, kindUint64, kindFixed64:
		v, err := strconv.ParseUint(text, 10, bitsOf(f.kind))
		return v, err == nil
	default:
		return 0, false
	}
}

// bitsOf is the width of an integer in bits.
func bitsOf(k kind) int {
	switch k {
	case kindInt32, kindSint32, kindSfixed32, kindUint32, kindFixed32:
		return 32
	default:
		return 64
	}
}

// lenientDuration reads a duration as Go writes it, such as 1m30s.
func lenientDuration(text string) (seconds int64, nanos int32, ok bool) {
	d, err := time.ParseDuration(text)
	return int64(d / time.Second), int32(d % time.Second), err == nil
}
