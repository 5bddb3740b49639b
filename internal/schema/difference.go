package schema

import (
	"fmt"
	"strings"
)

// Difference is what distinguishes a schema from the one before it.
type Difference struct {
	// Added and Removed are full names of methods, such as user.v1.UserService/GetUser, in order.
	// Both are empty if only messages, options or streaming have changed.
	Added, Removed []string
}

// Since returns what is new in s, and what has gone since before. before must not be nil.
func (s *Schema) Since(before *Schema) Difference {
	return Difference{Added: s.without(before), Removed: before.without(s)}
}

// without returns the names of the methods that only s has.
func (s *Schema) without(other *Schema) []string {
	var names []string
	for _, m := range s.methods {
		if _, ok := other.byName[m.Name]; !ok {
			names = append(names, m.Name)
		}
	}
	return names
}

// listedNames is the maximum number of names that Listed shows.
const listedNames = 10

// Listed returns the names as a text for operators. Of a long list it shows the beginning and the
// number of the others.
func Listed(names []string) string {
	if more := len(names) - listedNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:listedNames], " "), more)
	}
	return strings.Join(names, " ")
}
