package routes

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// CheckHiddenField says what is wrong with a name in Config.HideFields. Messages that the gateway
// itself gives a meaning cannot be without one of their fields.
func CheckHiddenField(name string) error {
	full := protoreflect.FullName(name)
	if !full.IsValid() || full.Parent() == "" {
		return fmt.Errorf("field %q: expected the full name of a field, such as package.Message.field", name)
	}
	switch message := full.Parent(); {
	case message.Parent() == "google.protobuf", message == "google.api.HttpBody", message == "google.rpc.Status":
		return fmt.Errorf("field %q: fields of %s cannot be hidden; hide the fields that hold such messages", name, message)
	}
	return nil
}

// checkHidden reports the names in HideFields that are no field of any schema: they are mistyped,
// or the field has gone. It reports nothing while a schema is missing, and nothing if members come
// and go.
func (b *builder) checkHidden() {
	if b.pending || b.cfg.Open || len(b.out.members) == 0 {
		return
	}
	for _, name := range b.cfg.HideFields {
		if !b.hasField(protoreflect.FullName(name)) {
			b.problem(Problem{Fatal: true, Reason: fmt.Sprintf("hide_fields: no upstream has the field %q", name)})
		}
	}
}

// hasField reports whether a schema has the field. The types of google/rpc/error_details.proto are
// known to every schema.
func (b *builder) hasField(name protoreflect.FullName) bool {
	has := func(files *protoregistry.Files) bool {
		d, err := files.FindDescriptorByName(name)
		if err != nil {
			return false
		}
		_, ok := d.(protoreflect.FieldDescriptor)
		return ok
	}
	if name.Parent().Parent() == "google.rpc" && has(protoregistry.GlobalFiles) {
		return true
	}
	return slices.ContainsFunc(b.out.members, func(m Member) bool { return has(m.Schema.Types().Files()) })
}
