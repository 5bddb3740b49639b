package transcode

import "bytes"

// appendFieldMask appends the paths of a FieldMask in lowerCamelCase as its field on the wire, in
// snake_case, and reports whether all of them are field paths. If raw is set, a path that is not a
// lowerCamelCase, but that rawPath knows, is taken as it is.
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

// appendMaskPath appends a path in lowerCamelCase. It reports whether the path is one that reads
// back the same: each underscore is followed by a small letter, and there are no capitals.
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

// validPath reports whether s is identifiers with dots between.
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

// rawPath reports whether s is names with dots between, where a name may also be a number, as of a
// map's key, or the wildcard "*" (AIP-134, AIP-157 and AIP-161).
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
