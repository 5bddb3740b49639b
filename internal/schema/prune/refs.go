package prune

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxOptionDepth is how deep the values of options are searched for further options.
	maxOptionDepth = 100
	// maxCandidates is how many extensions with one number are taken into account. Linked files may
	// have several, of which an option means one.
	maxCandidates = 8
	// operationInfo is the number of the method option google.longrunning.operation_info. It has
	// the names of two types as strings: what a long-running operation results in.
	operationInfo = 1049
)

// addRefs finds what the declarations of a file need.
func (g *graph) addRefs(f *file) {
	g.addOptions(f.root, f.desc.Options())
	for _, n := range f.nodes {
		n.softRefs = append(n.softRefs, f.root)
		switch d := n.desc.(type) {
		case protoreflect.MessageDescriptor:
			g.addMessage(n, d)
		case protoreflect.EnumDescriptor:
			g.addOptions(n, d.Options())
			for i := range d.Values().Len() {
				g.addOptions(n, d.Values().Get(i).Options())
			}
		case protoreflect.FieldDescriptor:
			g.addRef(n, d.ContainingMessage())
			g.addField(n, d)
		case protoreflect.MethodDescriptor:
			g.addRef(n, d.Input())
			g.addRef(n, d.Output())
			g.addOptions(n, d.Options())
			g.addOptions(n, d.Parent().Options())
			g.addOperation(n, d.Options())
		}
	}
}

func (g *graph) addMessage(n *node, md protoreflect.MessageDescriptor) {
	g.addOptions(n, md.Options())
	for i := range md.Fields().Len() {
		g.addField(n, md.Fields().Get(i))
	}
	for i := range md.Oneofs().Len() {
		g.addOptions(n, md.Oneofs().Get(i).Options())
	}
	for i := range md.ExtensionRanges().Len() {
		g.addOptions(n, md.ExtensionRangeOptions(i))
	}
	if isOptions(md.FullName()) {
		return // An option counts where it is set.
	}
	for _, list := range g.extensions[md.FullName()] {
		for _, x := range list {
			if x.file.related(n.file) {
				n.pulls = append(n.pulls, x)
			}
		}
	}
}

// isOptions reports whether a message is one of those that hold options.
func isOptions(name protoreflect.FullName) bool {
	return name.Parent() == "google.protobuf" && (strings.HasSuffix(string(name.Name()), "Options") || name.Name() == "FeatureSet")
}

func (g *graph) addField(n *node, fd protoreflect.FieldDescriptor) {
	if md := fd.Message(); md != nil {
		g.addRef(n, md)
	}
	if ed := fd.Enum(); ed != nil {
		g.addRef(n, ed)
	}
	g.addOptions(n, fd.Options())
}

func (g *graph) addRef(n *node, d protoreflect.Descriptor) {
	if to := g.node(d); to != nil && to != n {
		n.refs = append(n.refs, to)
	}
}

// addOptions finds the extensions that options use. Most of these are unknown fields here.
func (g *graph) addOptions(n *node, options protoreflect.ProtoMessage) {
	if options == nil || !options.ProtoReflect().IsValid() {
		return
	}
	if raw := marshal(options); len(raw) > 0 {
		g.searchOptions(n, options.ProtoReflect().Descriptor(), raw, maxOptionDepth)
	}
}

func (g *graph) searchOptions(n *node, md protoreflect.MessageDescriptor, raw []byte, depth int) {
	for len(raw) > 0 && depth > 0 {
		num, typ, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return
		}
		raw = raw[size:]
		size = protowire.ConsumeFieldValue(num, typ, raw)
		if size < 0 {
			return
		}
		value := raw[:size]
		raw = raw[size:]
		switch typ {
		case protowire.BytesType:
			value, _ = protowire.ConsumeBytes(value)
		case protowire.StartGroupType:
			value, _ = protowire.ConsumeGroup(num, value)
		default:
			value = nil
		}
		fd := md.Fields().ByNumber(num)
		if fd != nil {
			if fd.Message() != nil {
				g.searchOptions(n, fd.Message(), value, depth-1)
			}
			continue
		}
		candidates := g.extensions[md.FullName()][num]
		for _, x := range candidates[:min(len(candidates), maxCandidates)] {
			if !x.file.related(n.file) {
				continue
			}
			if x != n {
				n.softRefs = append(n.softRefs, x)
			}
			xd, ok := x.desc.(protoreflect.FieldDescriptor)
			if ok && xd.Message() != nil && !xd.Message().IsPlaceholder() {
				g.searchOptions(n, xd.Message(), value, depth-1)
			}
		}
	}
}

// addOperation adds the types that google.longrunning.operation_info names.
func (g *graph) addOperation(n *node, options proto.Message) {
	if options == nil || !options.ProtoReflect().IsValid() {
		return
	}
	for _, info := range stringsOf(marshal(options), operationInfo) {
		for _, num := range []protowire.Number{1, 2} {
			for _, name := range stringsOf([]byte(info), num) {
				g.addNamed(n, protoreflect.FullName(name))
				g.addNamed(n, n.file.desc.Package().Append(protoreflect.Name(name)))
			}
		}
	}
}

func (g *graph) addNamed(n *node, name protoreflect.FullName) {
	for _, to := range g.names[name] {
		if to.file.related(n.file) {
			n.softRefs = append(n.softRefs, to)
		}
	}
}

// stringsOf returns the values of a field of strings or messages.
func stringsOf(raw []byte, field protowire.Number) []string {
	var values []string
	for len(raw) > 0 {
		num, typ, size := protowire.ConsumeTag(raw)
		if size < 0 {
			break
		}
		raw = raw[size:]
		if size = protowire.ConsumeFieldValue(num, typ, raw); size < 0 {
			break
		}
		if num == field && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(raw[:size])
			values = append(values, string(value))
		}
		raw = raw[size:]
	}
	return values
}
