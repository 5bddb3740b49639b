package routes

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// splitName splits the name of a method, `package.Service/Method`. ok is false for everything that
// cannot be a name in protobuf. A full name is identifiers joined by dots. An identifier is ASCII
// letters, digits and underscores, and does not begin with a digit.
//
// Every name from a request passes through here before it is used. So no name that leaves the
// gateway has a percent sign, a slash or dot too many, a query, a control character or a letter
// outside ASCII.
func splitName(name string) (service, method string, ok bool) {
	service, method, ok = strings.Cut(name, "/")
	ok = ok && protoreflect.FullName(service).IsValid() && protoreflect.Name(method).IsValid()
	return service, method, ok
}

// splitPath is splitName for the path of a method, `/package.Service/Method`.
func splitPath(path string) (service, method string, ok bool) {
	name, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", "", false
	}
	return splitName(name)
}
