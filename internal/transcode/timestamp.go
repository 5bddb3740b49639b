package transcode

import (
	"bytes"
	"time"
)

// The range of google.protobuf.Timestamp, in seconds: from year 1 to 9999.
const (
	minTimestamp = -62135596800
	maxTimestamp = 253402300799
)

// parseTimestamp reads an RFC 3339 time. parseUTC reads the usual form. Package time reads every
// other form that it accepts as RFC 3339. protojson accepts the same ones.
func parseTimestamp(s []byte) (seconds int64, nanos int32, ok bool) {
	if seconds, nanos, ok = parseUTC(s); !ok {
		t, err := time.Parse(time.RFC3339Nano, string(s))
		if err != nil {
			return 0, 0, false
		}
		point, zone := bytes.LastIndexByte(s, '.'), bytes.LastIndexAny(s, "Z-+")
		if point >= 0 && zone >= point && zone-point > len(".999999999") {
			return 0, 0, false
		}
		seconds, nanos = t.Unix(), int32(t.Nanosecond())
	}
	return seconds, nanos, seconds >= minTimestamp && seconds <= maxTimestamp
}

// putTimestamp reads the quoted time at in[p], in the form that ProtoJSON writes:
// "2006-01-02T15:04:05.999999999Z" with no, three, six or nine digits of a second. It writes the
// length and the fields of a Timestamp at buf[n]. It returns the positions after the input and
// after the output. If the time has another form, the first of them is 0.
func putTimestamp(in []byte, p int, buf []byte, n int) (int, int) {
	if uint(p) >= uint(len(in)) || in[p] != '"' {
		return 0, n
	}
	for _, size := range [...]int{20, 24, 27, 30} {
		end := p + size + 1
		if end >= len(in) {
			break
		}
		if in[end] != '"' {
			continue
		}
		seconds, nanos, ok := parseUTC(in[p+1 : end])
		if !ok || seconds < minTimestamp {
			break
		}
		at := putSeconds(buf, n+1, seconds, nanos)
		buf[n] = byte(at - n - 1) // it is always short
		return end + 1, at
	}
	return 0, n
}

// parseUTC reads a time in the form that ProtoJSON writes, with up to nine digits of a second.
func parseUTC(s []byte) (seconds int64, nanos int32, ok bool) {
	n := len(s)
	if n < len("2006-01-02T15:04:05Z") || n > len("2006-01-02T15:04:05.999999999Z") || s[n-1] != 'Z' {
		return 0, 0, false
	}
	// The date and the time are three words: "2006-01-", "02T15:04" and ":05". The digit 0 takes
	// the place of each separator.
	a, b, c := load64(s, 0), load64(s, 8), uint64(load32(s, 16))
	const (
		sepA, placeA = uint64('-')<<32 | uint64('-')<<56, uint64(0xff)<<32 | uint64(0xff)<<56
		sepB, placeB = uint64('T')<<16 | uint64(':')<<40, uint64(0xff)<<16 | uint64(0xff)<<40
		sepC, placeC = uint64(':'), uint64(0xff)
	)
	if (a^sepA)&placeA|(b^sepB)&placeB|(c^sepC)&placeC != 0 {
		return 0, 0, false
	}
	a ^= sepA ^ asciiZeros&placeA
	b ^= sepB ^ asciiZeros&placeB
	c = (c ^ sepC ^ asciiZeros&placeC) & 0xffffff // the fourth byte is the point or the Z
	if !eightDigits(a) || !eightDigits(b) || !eightDigits(c|0x30_3030_3030<<24) {
		return 0, 0, false
	}
	a, b, c = joinPairs(a), joinPairs(b), joinPairs(c)
	year, month := int(a&0xff)*100+int(a>>16&0xff), int(a>>40&0xff)
	day, hour, minute, second := int(b&0xff), int(b>>24&0xff), int(b>>48&0xff), int(c>>8&0xff)
	if month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(month, year) || hour > 23 || minute > 59 || second > 59 {
		return 0, 0, false
	}
	if n > 20 {
		if nanos, ok = parseFraction(s[:n-1]); !ok {
			return 0, 0, false
		}
	}
	return int64(daysSince1970(year, month, day))*86400 + int64(hour*3600+minute*60+second), nanos, true
}

// joinPairs returns a word whose bytes are numbers below 100. Each is made of the digit in its
// place and the digit after it.
func joinPairs(digits uint64) uint64 {
	digits &= 0x0f * eachByte
	return digits*10 + digits>>8
}

// parseFraction reads the end of a time without its Z: the point and up to nine digits.
func parseFraction(s []byte) (int32, bool) {
	const point = len("2006-01-02T15:04:05")
	digits := len(s) - point - 1
	if s[point] != '.' || digits == 0 {
		return 0, false
	}
	x := load64(s, len(s)-8) ^ asciiZeros
	nanos := uint64(0)
	if digits < 8 {
		x &^= 1<<uint(64-8*digits) - 1
	} else if digits == 9 {
		if nanos = uint64(s[point+1] - '0'); nanos > 9 {
			return 0, false
		}
		nanos *= 1e8
	}
	if (x+(0x80-10)*eachByte|x)&highBits != 0 {
		return 0, false
	}
	return int32((nanos + parseEight(x)) * pow10[9-digits]), true
}

func daysIn(month, year int) int {
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 29
	}
	return int("\x00\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"[month])
}

// daysSince1970 counts the days of the proleptic Gregorian calendar. Its years start in March, so
// that the leap day is the last one.
func daysSince1970(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468
}

// appendTimestamp appends the quoted time with 0, 3, 6 or 9 digits of a second.
func appendTimestamp(out []byte, seconds int64, nanos int32) []byte {
	since := uint64(seconds - minTimestamp)
	days := uint32(since / 86400)
	rest := uint32(since - uint64(days)*86400)
	// This is the calendar by Neri and Schneider ("Euclidean affine functions and their application
	// to calendar algorithms", 2022). It counts days from 0000-03-01, which is 306 days before
	// 0001-01-01. Its years start in March, so that the leap day is the last one.
	n := 4*(days+306) + 3
	century := n / 146097
	n = n%146097/4*4 + 3
	product := uint64(n) * 2939745
	year := 100*century + uint32(product>>32)
	dayOfYear := uint32(product) / 2939745 / 4
	n = 2141*dayOfYear + 197913
	month, day := n>>16, n&0xffff/2141+1
	if dayOfYear >= 306 {
		month -= 12
		year++
	}
	// "2006-01-02T15:04:05Z" in quotes is three words of eight bytes. The digits of all numbers are
	// in their places. The separators go into the zero bytes between them.
	out = grow(out, 32)
	at := len(out)
	buf := out[at : at+24 : at+24]
	const dash, colon, zeros = uint64('-'), uint64(':'), '0' * uint64(0x0101)
	date := pairs8(uint64(year/100|year%100<<16) | uint64(month|day<<16)<<32)
	clock := pairs8(uint64(rest/3600|rest/60%60<<16) | uint64(rest%60)<<32)
	store64(buf, 0, '"'|(date&0xffffffff)<<8+zeros<<8+zeros<<24|dash<<40|(date>>32&0xffff)<<48+zeros<<48)
	store64(buf, 8, dash|(date>>48)<<8+zeros<<8|'T'<<24|(clock&0xffff)<<32+zeros<<32|colon<<48|(clock>>16&0xff)<<56+'0'<<56)
	store64(buf, 16, (clock>>24&0xff)+'0'|colon<<8|(clock>>32)<<16+zeros<<16|'Z'<<32|'"'<<40)
	if nanos == 0 {
		return out[:at+22]
	}
	return append(appendFraction(out[:at+20], uint64(nanos)), 'Z', '"')
}

// appendFraction appends nanoseconds as a fraction of 3, 6 or 9 digits.
func appendFraction(out []byte, nanos uint64) []byte {
	out = append(out, '.')
	switch {
	case nanos%1_000_000 == 0:
		return appendPadded(out, nanos/1_000_000, 3)
	case nanos%1000 == 0:
		return appendPadded(out, nanos/1000, 6)
	default:
		return appendPadded(out, nanos, 9)
	}
}
