package negotiate

import (
	"strings"
	"unicode/utf8"
)

// EncodeMessage percent-encodes a status message for the grpc-message header or trailer
// ("Status-Message" in gRPC over HTTP/2). It encodes `%` and every byte that is not printable
// ASCII. It encodes spaces at the ends too, because HTTP would cut them off. Bytes that are not
// UTF-8 become U+FFFD. A message with nothing to encode is returned as it is.
func EncodeMessage(message string) string {
	plain := 0
	for plain < len(message) && !mustEncode(message, plain) {
		plain++
	}
	if plain == len(message) {
		return message
	}
	message = strings.ToValidUTF8(message, string(utf8.RuneError)) // Bytes before plain are ASCII.
	const digits = "0123456789ABCDEF"
	encoded := append(make([]byte, 0, len(message)+16), message[:plain]...)
	for i := plain; i < len(message); i++ {
		c := message[i]
		if mustEncode(message, i) {
			encoded = append(encoded, '%', digits[c>>4], digits[c&15])
		} else {
			encoded = append(encoded, c)
		}
	}
	return string(encoded)
}

func mustEncode(message string, i int) bool {
	c := message[i]
	return c < ' ' || c > '~' || c == '%' || c == ' ' && (i == 0 || i == len(message)-1)
}

// DecodeMessage decodes a grpc-message. As the specification demands, nothing is an error. A `%`
// without two hexadecimal digits stays as it is. Decoded bytes that are not UTF-8 become U+FFFD. A
// message with nothing to decode is returned as it is.
func DecodeMessage(encoded string) string {
	next := strings.IndexByte(encoded, '%')
	if next < 0 {
		return strings.ToValidUTF8(encoded, string(utf8.RuneError))
	}
	message := append(make([]byte, 0, len(encoded)), encoded[:next]...)
	for i := next; i < len(encoded); i++ {
		if c := encoded[i]; c == '%' && i+2 < len(encoded) {
			high, ok := unhex(encoded[i+1])
			low, alsoOK := unhex(encoded[i+2])
			if ok && alsoOK {
				message = append(message, high<<4|low)
				i += 2
				continue
			}
		}
		message = append(message, encoded[i])
	}
	return strings.ToValidUTF8(string(message), string(utf8.RuneError))
}

func unhex(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
