package transcode

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A hidden field is one of Options.Hidden. The programs of such a compiler do not have it. So JSON
// is written without it, and no path or name finds it. filter.go removes it from messages that
// stay on the wire.

// hiddenFields returns the fields of Options.Hidden. It is nil if there are none.
func hiddenFields(names string) map[protoreflect.FullName]bool {
	var hidden map[protoreflect.FullName]bool
	for _, name := range strings.Fields(names) {
		if hidden == nil {
			hidden = make(map[protoreflect.FullName]bool)
		}
		hidden[protoreflect.FullName(name)] = true
	}
	return hidden
}

// hides reports whether a field is hidden. The key and the value of a map have names, too. A map
// without one of them is no map, so the whole of it is hidden.
func (c *Compiler) hides(fd protoreflect.FieldDescriptor) bool {
	switch {
	case c.hidden == nil:
		return false
	case c.hidden[fd.FullName()]:
		return true
	}
	return fd.IsMap() && (c.hidden[fd.MapKey().FullName()] || c.hidden[fd.MapValue().FullName()])
}

// shown returns the fields that are not hidden, in the order of their declaration.
func (c *Compiler) shown(fds protoreflect.FieldDescriptors) []protoreflect.FieldDescriptor {
	shown := make([]protoreflect.FieldDescriptor, 0, fds.Len())
	for i := range fds.Len() {
		if fd := fds.Get(i); !c.hides(fd) {
			shown = append(shown, fd)
		}
	}
	return shown
}

// indexOf returns the place of a field among those that are shown, which is at most the place of
// its declaration.
func indexOf(shown []protoreflect.FieldDescriptor, fd protoreflect.FieldDescriptor) (int32, bool) {
	for i := min(fd.Index(), len(shown)-1); i >= 0; i-- {
		if shown[i].Index() == fd.Index() {
			return int32(i), true
		}
	}
	return 0, false
}
