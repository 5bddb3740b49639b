package transcode

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// extensionByNumber returns the extension of the message type with this number, or nil if the
// schema has none.
func (p *program) extensionByNumber(num int32) (*field, error) {
	if p.compiler.types == nil || !p.md.ExtensionRanges().Has(protoreflect.FieldNumber(num)) {
		return nil, nil
	}
	p.extensions.mu.RLock()
	f := p.extensions.byNumber[num]
	p.extensions.mu.RUnlock()
	if f != nil {
		return f, nil
	}
	xt, err := p.compiler.types.FindExtensionByNumber(p.md.FullName(), protoreflect.FieldNumber(num))
	switch {
	case errors.Is(err, protoregistry.NotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("resolve extension %d of %s: %w", num, p.md.FullName(), err)
	case p.compiler.hides(xt.TypeDescriptor()):
		return nil, nil
	}
	return p.keepExtension(xt.TypeDescriptor()), nil
}

// extensionByName returns the extension field that `[name]` means in JSON, or nil if the schema has
// none. It fails if the name means something else, or an extension of another message type.
func (p *program) extensionByName(name []byte) (*field, error) {
	if p.compiler.types == nil {
		return nil, nil
	}
	p.extensions.mu.RLock()
	f := p.extensions.byName[string(name)]
	p.extensions.mu.RUnlock()
	if f != nil {
		return f, nil
	}
	xt, err := p.compiler.types.FindExtensionByName(protoreflect.FullName(name))
	switch {
	case errors.Is(err, protoregistry.NotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("resolve extension [%s]: %w", name, err)
	case p.compiler.hides(xt.TypeDescriptor()):
		return nil, nil
	}
	fd := xt.TypeDescriptor()
	if !p.md.ExtensionRanges().Has(fd.Number()) || fd.ContainingMessage().FullName() != p.md.FullName() {
		return nil, fmt.Errorf("extension [%s] does not extend %s", name, p.md.FullName())
	}
	return p.keepExtension(fd), nil
}

// keepExtension compiles an extension and keeps it. If it is kept already, that field is returned.
func (p *program) keepExtension(fd protoreflect.FieldDescriptor) *field {
	f := new(field)
	p.compiler.compileField(f, fd)
	f.required = false

	p.extensions.mu.Lock()
	defer p.extensions.mu.Unlock()
	if p.extensions.byNumber == nil {
		p.extensions.byNumber = make(map[int32]*field)
		p.extensions.byName = make(map[string]*field)
	}
	if other := p.extensions.byNumber[f.num]; other != nil && other.fd.FullName() == fd.FullName() {
		return other
	}
	f.index = extensionIndex + int32(len(p.extensions.slots))
	p.extensions.slots = append(p.extensions.slots, f)
	p.extensions.byNumber[f.num] = f
	p.extensions.byName[string(fd.FullName())] = f
	return f
}
