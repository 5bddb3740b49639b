package transcode

// digitPairs holds "00" to "99".
const digitPairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"

// appendUint appends v in decimal.
func appendUint(out []byte, v uint64) []byte {
	if v < 10 {
		return append(out, byte('0'+v))
	}
	if v < 100 {
		return append(out, digitPairs[2*v], digitPairs[2*v+1])
	}
	var buf [20]byte
	i := len(buf)
	for v >= 100 {
		pair := v % 100 * 2
		v /= 100
		i -= 2
		buf[i], buf[i+1] = digitPairs[pair], digitPairs[pair+1]
	}
	if v >= 10 {
		i -= 2
		buf[i], buf[i+1] = digitPairs[2*v], digitPairs[2*v+1]
	} else {
		i--
		buf[i] = byte('0' + v)
	}
	return append(out, buf[i:]...)
}

// appendInt appends v in decimal.
func appendInt(out []byte, v int64) []byte {
	if v < 0 {
		return appendUint(append(out, '-'), -uint64(v))
	}
	return appendUint(out, uint64(v))
}
