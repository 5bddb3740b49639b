package schema

import (
	"fmt"
	"strings"
)

// NoReflectionError says that the service does not offer server reflection. Somebody has to change
// a configuration, either the service's or the gateway's.
type NoReflectionError struct {
	// Err is what the server answered.
	Err error
}

func (e *NoReflectionError) Error() string {
	return "the service offers no server reflection (neither grpc.reflection.v1 nor v1alpha): enable it in the service " +
		"(in Go: reflection.Register), or configure `descriptors protoset <file>` or `descriptors proto <file>`: " + e.Err.Error()
}

func (e *NoReflectionError) Unwrap() error { return e.Err }

// MissingImportError says that the source does not have a file whose types are needed.
type MissingImportError struct {
	// File is the path of the missing file, as it is imported.
	File string
	// ImportedBy are the paths of the files that import it.
	ImportedBy []string
	// Err says what could not be resolved.
	Err error
}

func (e *MissingImportError) Error() string {
	return fmt.Sprintf("file %q, imported by %s, is missing: %v", e.File, quoted(e.ImportedBy), e.Err)
}

func (e *MissingImportError) Unwrap() error { return e.Err }

// ConflictError says that a source has two different versions of one file.
type ConflictError struct {
	// File is the path of the file.
	File string
	// First and Second say where each version is from.
	First, Second string
}

func (e *ConflictError) Error() string {
	if e.First == e.Second {
		return fmt.Sprintf("file %q has two different versions in %s", e.File, e.First)
	}
	return fmt.Sprintf("file %q has two different versions, in %s and in %s", e.File, e.First, e.Second)
}

// badFile adds the name of the file to errors of the descriptor library, which leave it out.
func badFile(path string, err error) error { return fmt.Errorf("file %q: %w", path, err) }

// quoted lists names. Of many, it lists three and the number of the others.
func quoted(names []string) string {
	const most = 3
	var b strings.Builder
	for i, name := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}
