package schema

import (
	"crypto/sha256"
	"errors"
	"maps"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// isContent reports whether an error is about what the service says, rather than about the call.
func isContent(err error) bool {
	var conflict *ConflictError
	var limit limitError
	return errors.As(err, &conflict) || errors.As(err, &limit)
}

// add links the files of an answer and adds them to what is known. It reports whether what was
// lacking is among them.
func (l *learner) add(what lack, c *reflectionCall) bool {
	l.linking.Lock()
	defer l.linking.Unlock()
	known := l.known.Load()
	a := c.files
	// Another answer may have brought some of the files meanwhile.
	a.base = layers{l.base, known.files}
	sums := map[string][sha256.Size]byte{}
	next := &learned{files: &protoregistry.Files{}, answers: maps.Clone(known.answers), bytes: known.bytes, declarations: known.declarations}
	for path, f := range a.given {
		sums[path] = sha256.Sum256(canonical(f.desc, true))
		if a.base.has(path) {
			delete(a.given, path)
			continue
		}
		raw := canonical(f.desc, true)
		next.bytes += len(raw)
		next.declarations += countDeclarations(raw, "FileDescriptorProto", maxLearnedDeclarations)
	}
	if next.bytes > maxLearnedBytes || next.declarations > maxLearnedDeclarations {
		return false
	}
	a.link()
	copyFiles(next.files, known.files)
	copyFiles(next.files, a.files)
	next.types = dynamicpb.NewTypes(next.files)
	d := next.find(what)
	if d == nil {
		return false
	}
	path := d.ParentFile().Path()
	next.answers[what] = learnedFile{path: path, sum: sums[path]}
	l.known.Store(next)
	return true
}

// copyFiles adds the files of one registry to another, in which they are in no conflict.
func copyFiles(to, from *protoregistry.Files) {
	from.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		_ = to.RegisterFile(fd)
		return true
	})
}

// find returns the message or extension that was lacking, or nil if it still is.
func (l *learned) find(what lack) protoreflect.Descriptor {
	if what.number != 0 {
		xt, err := l.types.FindExtensionByNumber(what.name, what.number)
		if err != nil {
			return nil
		}
		return xt.TypeDescriptor()
	}
	d, err := l.files.FindDescriptorByName(what.name)
	if err != nil {
		return nil
	}
	if _, ok := d.(protoreflect.MessageDescriptor); ok {
		return d
	}
	if fd, ok := d.(protoreflect.FieldDescriptor); ok && fd.IsExtension() {
		return d
	}
	return nil
}
