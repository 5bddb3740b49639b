package transcode

import "bytes"

// appendFieldMask reads paths in lowerCamelCase, separated by commas. It appends the field of a
// FieldMask, with the paths in snake_case, and reports whether all of them are field paths. If raw
// is set, a path that is not in lowerCamelCase is taken as it is, if rawPath accepts it.
func appendFieldMask(out, s []byte, raw bool) ([]byte, bool) {
	if len(s) == 0 {
		return out, true
	}
	for more := true; more; {
		var path []byte
		path, s, more = bytes.Cut(s, []byte{','})
		if !camelPath(path) {
			if !raw || !rawPath(path) {
				return out, false
			}
			out = appendVarint(append(out, 1<<3|wireBytes), uint64(len(path)))
			out = append(out, path...)
			continue
		}
		size := len(path)
		for _, c := range path {
			if isUpper(c) {
				size++
			}
		}
		out = appendVarint(append(out, 1<<3|wireBytes), uint64(size))
		for _, c := range path {
			if isUpper(c) {
				out = append(out, '_')
				c += 'a' - 'A'
			}
			out = append(out, c)
		}
	}
	return out, true
}

// appendMaskPath appends a path in lowerCamelCase. It reports whether the same path will be read
// back. That needs a small letter after each underscore, and no capitals.
func appendMaskPath(out, path []byte) ([]byte, bool) {
	if !validPath(path) {
		return out, false
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case isUpper(c):
			return out, false
		case c == '_':
			i++
			if i == len(path) || path[i] < 'a' || path[i] > 'z' {
				return out, false
			}
			c = path[i] - ('a' - 'A')
		}
		out = append(out, c)
	}
	return out, true
}

// validPath reports whether s is identifiers joined by dots.
func validPath(s []byte) bool {
	first := true
	for _, c := range s {
		switch {
		case c == '_' || 'a' <= c && c <= 'z' || isUpper(c):
			first = false
		case '0' <= c && c <= '9' && !first:
		case c == '.' && !first:
			first = true
		default:
			return false
		}
	}
	return !first
}

// camelPath reports whether s is read as a path in lowerCamelCase.
func camelPath(s []byte) bool { return validPath(s) && bytes.IndexByte(s, '_') < 0 }

// rawPath reports whether s is names joined by dots. A name may also be a number, such as the key
// of a map, or the wildcard "*" (AIP-134, AIP-157 and AIP-161).
func rawPath(s []byte) bool {
	for more := true; more; {
		var name []byte
		name, s, more = bytes.Cut(s, []byte{'.'})
		if len(name) == 0 {
			return false
		}
		if string(name) == "*" {
			continue
		}
		for _, c := range name {
			if c != '_' && (c < 'a' || c > 'z') && !isUpper(c) && (c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
