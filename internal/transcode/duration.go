package transcode

// maxDuration is the longest google.protobuf.Duration, in seconds: about 10,000 years.
const maxDuration = 315_576_000_000

// parseDuration reads seconds as a decimal number followed by the letter s: "1s", "-0.5s", "+1.s",
// ".000000001s". At most nine digits may follow the point.
func parseDuration(s []byte) (seconds int64, nanos int32, ok bool) {
	if len(s) < 2 || s[len(s)-1] != 's' {
		return 0, 0, false
	}
	s = s[:len(s)-1]
	negative := s[0] == '-'
	if negative || s[0] == '+' {
		s = s[1:]
	}
	n := skipDigits(s, 0)
	if len(s) == 0 || n == 0 && s[0] != '.' || n > 1 && s[0] == '0' || n > 12 {
		return 0, 0, false
	}
	for _, c := range s[:n] {
		seconds = seconds*10 + int64(c-'0')
	}
	if s = s[n:]; len(s) > 0 {
		digits := len(s) - 1
		if s[0] != '.' || digits > 9 || skipDigits(s, 1) != len(s) {
			return 0, 0, false
		}
		for _, c := range s[1:] {
			nanos = nanos*10 + int32(c-'0')
		}
		nanos *= int32(pow10[9-digits])
	}
	if seconds > maxDuration {
		return 0, 0, false
	}
	if negative {
		seconds, nanos = -seconds, -nanos
	}
	return seconds, nanos, true
}

// appendDuration appends the quoted seconds with 0, 3, 6 or 9 digits of a second.
func appendDuration(out []byte, seconds int64, nanos int32) []byte {
	out = append(out, '"')
	if seconds < 0 || nanos < 0 {
		out = append(out, '-')
		seconds, nanos = -seconds, -nanos
	}
	out = appendUint(out, uint64(seconds))
	if nanos != 0 {
		out = appendFraction(out, uint64(nanos))
	}
	return append(out, 's', '"')
}
