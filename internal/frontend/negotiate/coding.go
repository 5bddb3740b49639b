package negotiate

import (
	"fmt"
	"strings"
)

// Identity is the coding of a body that is not coded.
const Identity = "identity"

// CodingError reports a coding that is not supported: HTTP 415, with an Accept-Encoding header that
// names the supported ones (RFC 9110, section 12.5.3).
type CodingError struct {
	Coding string // As the client wrote it.
}

// Error quotes the coding.
func (e *CodingError) Error() string {
	return fmt.Sprintf("unsupported content coding %q", e.Coding)
}

// AcceptEncoding chooses the coding of a response by the values of a request's Accept-Encoding
// headers. offers are in lower case and without identity, the best first. The same rules serve
// Grpc-Accept-Encoding and Connect-Accept-Encoding, which have no weights.
//
// The highest weight wins. Among equal weights, the earlier offer wins. Identity is acceptable
// unless the client excludes it by its name or by `*;q=0`. It is chosen if no offer is acceptable,
// or if the client gives it a higher weight by name. It is also chosen without a header, because a
// client that understands codings says so. ok is false if even identity is excluded. RFC 9110,
// section 12.5.3, leaves it to the server whether that is 406 or an answer in identity.
func AcceptEncoding(values, offers []string) (coding string, ok bool) {
	identity, named := weighCoding(values, Identity)
	best := 0
	for _, offer := range offers {
		if quality, _ := weighCoding(values, offer); quality > best {
			coding, best = offer, quality
		}
	}
	switch {
	case best > 0 && (!named || identity <= best):
		return coding, true
	case identity > 0:
		return Identity, true
	}
	return "", false
}

// weighCoding returns the weight of a coding, and whether the client names it.
func weighCoding(values []string, offer string) (quality int, named bool) {
	rest := 0 // The weight of `*`.
	if offer == Identity {
		rest = maxQuality
	}
	for _, list := range values {
		for more := true; more; {
			var element string
			element, list, more = cut(list, ',')
			coding, q, ok := parseCoding(element)
			switch {
			case !ok:
			case coding == "*":
				rest = q
			case sameCoding(coding, offer):
				quality, named = max(quality, q), true
			}
		}
	}
	if !named {
		quality = rest
	}
	return quality, named
}

// parseCoding parses one element of an Accept-Encoding header.
func parseCoding(element string) (coding string, quality int, ok bool) {
	coding, parameters, _ := cut(element, ';')
	if !isToken(coding) {
		return "", 0, false
	}
	quality = maxQuality
	for parameters != "" {
		var key, value string
		if key, value, parameters, ok = cutParameter(parameters); !ok {
			return "", 0, false
		}
		if strings.EqualFold(key, "q") {
			if quality, ok = parseQuality(value); !ok {
				return "", 0, false
			}
		}
	}
	return coding, quality, true
}

// sameCoding compares a client's name of a coding with the gateway's. x-gzip is gzip (RFC 9110,
// section 8.4.1.3).
func sameCoding(theirs, ours string) bool {
	return strings.EqualFold(theirs, ours) || ours == "gzip" && strings.EqualFold(theirs, "x-gzip")
}

// ContentEncoding returns the coding of a body by the values of its Content-Encoding headers, or
// Identity if it is not coded. supported is in lower case and without identity. An error is a
// [*CodingError]: the coding is another one, or there are several around each other. No client
// needs several, and they multiply what a small body can unpack to.
func ContentEncoding(values, supported []string) (coding string, err error) {
	coding = Identity
	for _, list := range values {
		for more := true; more; {
			var element string
			element, list, more = cut(list, ',')
			if element == "" || strings.EqualFold(element, Identity) {
				continue
			}
			known := find(supported, element)
			if known == "" || coding != Identity {
				return "", &CodingError{Coding: strings.Join(values, ", ")}
			}
			coding = known
		}
	}
	return coding, nil
}

// find returns the gateway's name of a coding, or "" if the coding is not supported.
func find(supported []string, coding string) string {
	for _, s := range supported {
		if sameCoding(coding, s) {
			return s
		}
	}
	return ""
}
