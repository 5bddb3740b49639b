package prune

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// gone is the new position of a declaration that is removed.
const gone = -1

// Numbers of fields in the messages of descriptor.proto, as the paths of comments have them.
const (
	fileMessages, fileEnums, fileServices, fileExtensions = 4, 5, 6, 7
	messageNested, messageEnums, messageExtensions        = 3, 4, 6
	serviceMethods                                        = 2
)

// cutter removes what is dropped from one file.
type cutter struct {
	f *file
	// moved maps the paths of declarations that are removed, or come after one that is, to their
	// new positions.
	moved map[string]int32
	// shells are the paths of messages that have lost their content.
	shells map[string]bool
}

func newCutter(f *file) *cutter {
	return &cutter{f: f, moved: map[string]int32{}, shells: map[string]bool{}}
}

func (c *cutter) file() {
	if !c.f.shown(func(n *node) bool { return n.dropped }) && !c.hasEmptyService() {
		return
	}
	p, d := c.f.proto, c.f.desc
	p.MessageType = c.messages("", fileMessages, p.MessageType, d.Messages())
	p.EnumType = cutList(c, "", fileEnums, p.EnumType, func(i int) bool { return c.keeps(d.Enums().Get(i)) })
	p.Extension = cutList(c, "", fileExtensions, p.Extension, func(i int) bool { return c.keeps(d.Extensions().Get(i)) })
	p.Service = cutList(c, "", fileServices, p.Service, func(i int) bool {
		methods := d.Services().Get(i).Methods()
		service := p.Service[i]
		service.Method = cutList(c, join("", fileServices, i), serviceMethods, service.Method,
			func(j int) bool { return c.keeps(methods.Get(j)) })
		return len(service.Method) > 0
	})
	c.comments()
}

func (c *cutter) hasEmptyService() bool {
	return slices.ContainsFunc(c.f.proto.Service, func(s *descriptorpb.ServiceDescriptorProto) bool { return len(s.Method) == 0 })
}

func (c *cutter) keeps(d protoreflect.Descriptor) bool { return !c.f.byName[d.FullName()].dropped }

func (c *cutter) messages(at string, field int, list []*descriptorpb.DescriptorProto, descs protoreflect.MessageDescriptors) []*descriptorpb.DescriptorProto {
	return cutList(c, at, field, list, func(i int) bool {
		p, d, path := list[i], descs.Get(i), join(at, field, i)
		p.NestedType = c.messages(path, messageNested, p.NestedType, d.Messages())
		p.EnumType = cutList(c, path, messageEnums, p.EnumType, func(j int) bool { return c.keeps(d.Enums().Get(j)) })
		p.Extension = cutList(c, path, messageExtensions, p.Extension, func(j int) bool { return c.keeps(d.Extensions().Get(j)) })
		if c.keeps(d) {
			return true
		}
		if len(p.NestedType)+len(p.EnumType)+len(p.Extension) == 0 {
			return false
		}
		list[i] = shell(p)
		c.shells[path] = true
		return true
	})
}

// shell is a message that only others are nested in. The features stay, because these inherit them.
func shell(p *descriptorpb.DescriptorProto) *descriptorpb.DescriptorProto {
	s := &descriptorpb.DescriptorProto{Name: p.Name, NestedType: p.NestedType, EnumType: p.EnumType, Extension: p.Extension}
	if features := p.GetOptions().GetFeatures(); features != nil {
		features = proto.CloneOf(features)
		m := features.ProtoReflect()
		m.SetUnknown(nil)
		m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			if fd.IsExtension() {
				m.Clear(fd)
			}
			return true
		})
		s.Options = &descriptorpb.MessageOptions{Features: features}
	}
	return s
}

// cutList removes elements of a list and notes where the others are now.
func cutList[T any](c *cutter, at string, field int, list []T, keep func(i int) bool) []T {
	var kept []T
	for i := range list {
		if !keep(i) {
			c.moved[join(at, field, i)] = gone
			continue
		}
		if len(kept) != i {
			c.moved[join(at, field, i)] = int32(len(kept))
		}
		kept = append(kept, list[i])
	}
	return kept
}

func join(at string, field, i int) string {
	return at + strconv.Itoa(field) + "." + strconv.Itoa(i) + "."
}

// comments removes the comments of what is gone and corrects the paths of the others.
func (c *cutter) comments() {
	info := c.f.proto.GetSourceCodeInfo()
	if info == nil {
		return
	}
	info.Location = slices.DeleteFunc(info.Location, func(l *descriptorpb.SourceCodeInfo_Location) bool {
		// Even positions are numbers of fields and odd ones indexes, as long as it is a
		// declaration.
		at := ""
		for i := 0; i+1 < len(l.Path); i += 2 {
			if c.shells[at] && !isNested(l.Path[i]) {
				return true
			}
			at = join(at, int(l.Path[i]), int(l.Path[i+1]))
			to, ok := c.moved[at]
			if ok && to == gone {
				return true
			}
			if ok {
				l.Path[i+1] = to
			}
		}
		// The comment at a message that is hidden, or at its name.
		return c.shells[at] && (len(l.Path)%2 == 0 || !isNested(l.Path[len(l.Path)-1]))
	})
}

// isNested reports whether a field of a message holds other declarations.
func isNested(field int32) bool {
	return field == messageNested || field == messageEnums || field == messageExtensions
}
