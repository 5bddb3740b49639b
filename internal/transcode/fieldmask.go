package transcode

import "bytes"

// appendFieldMask appends the paths of a FieldMask in lowerCamelCase as its field on the wire, in snake_case, and reports
// whether all of them are field paths.
func appendFieldMask(out, s []byte) ([]byte, bool) {
	if len(s) == 0 {
		return out, true
	}
	for more := true; more; {
		var path []byte
		path, s, more = bytes.Cut(s, []byte{','})
		if !validPath(path) || bytes.IndexByte(path, '_') >= 0 {
			return out, false
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

// appendMaskPath appends a path in lowerCamelCase. It reports whether the path is one that reads back the same: each
// underscore is followed by a small letter, and there are no capitals.
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

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
