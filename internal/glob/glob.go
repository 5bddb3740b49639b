// Package glob matches names with patterns in which `*` stands for any run of characters, the empty
// one included. No other character is special. The patterns of `expose`, `hide` and of metadata
// rules are such patterns.
package glob

import "strings"

// Match reports whether the whole name matches the pattern.
func Match(pattern, name string) bool {
	_, ok := Capture(pattern, name)
	return ok
}

// Capture is Match. It also returns what the first `*` stands for: the shortest text that lets the
// rest match, or "" if the pattern has no star.
//
// Each part between two stars is taken at its first occurrence, since that leaves the most for the
// parts after it. So nothing is tried twice, and the time is proportional to the length of the
// name.
func Capture(pattern, name string) (first string, ok bool) {
	prefix, rest, found := strings.Cut(pattern, "*")
	if !found {
		return "", pattern == name
	}
	name, ok = strings.CutPrefix(name, prefix)
	if !ok {
		return "", false
	}
	last := strings.LastIndexByte(rest, '*')
	name, ok = strings.CutSuffix(name, rest[last+1:])
	if !ok {
		return "", false
	}
	if last < 0 {
		return name, true
	}
	captured := false
	for part := range strings.SplitSeq(rest[:last], "*") {
		before, after, ok := strings.Cut(name, part)
		if !ok {
			return "", false
		}
		if !captured {
			first, captured = before, true
		}
		name = after
	}
	return first, true
}
