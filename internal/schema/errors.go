package schema

import (
	"fmt"
	"strings"
)

// NoReflectionError says that the service does not offer server reflection. It is a matter of configuration, on one side or the other.
type NoReflectionError struct {
	Err error // what the server answered
}

func (e *NoReflectionError) Error() string {
	return "the service offers no server reflection (neither grpc.reflection.v1 nor v1alpha): enable it in the service " +
		"(in Go: reflection.Register), or configure `descriptors protoset <file>` or `descriptors proto <file>`: " + e.Err.Error()
}

func (e *NoReflectionError) Unwrap() error { return e.Err }

// MissingImportError says that types of a file are needed that the source does not have.
type MissingImportError struct {
	File       string   // path of the missing file, as it is imported
	ImportedBy []string // paths of the files that import it
	Err        error    // what could not be resolved
}

func (e *MissingImportError) Error() string {
	return fmt.Sprintf("file %q, imported by %s, is missing: %v", e.File, quoted(e.ImportedBy), e.Err)
}

func (e *MissingImportError) Unwrap() error { return e.Err }

// ConflictError says that a source has two different versions of one file.
type ConflictError struct {
	File          string // path of the file
	First, Second string // where each version is from
}

func (e *ConflictError) Error() string {
	if e.First == e.Second {
		return fmt.Sprintf("file %q has two different versions in %s", e.File, e.First)
	}
	return fmt.Sprintf("file %q has two different versions, in %s and in %s", e.File, e.First, e.Second)
}

// badFile names the file in errors of the descriptor library, which do not.
func badFile(path string, err error) error { return fmt.Errorf("file %q: %w", path, err) }

// quoted lists names, the first three of many.
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
