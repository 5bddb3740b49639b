package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Comments are what .proto files say about their declarations, in words. They neither declare nor
// change anything. Immutable, and safe for concurrent use. The zero value has no comments.
type Comments struct {
	text map[protoreflect.FullName]string
}

// Of returns the comment on a declaration, as it is in the file: the one before it, or else the one
// after it on its line. It is "" if there is none.
func (c *Comments) Of(name protoreflect.FullName) string {
	if c == nil {
		return ""
	}
	return c.text[name]
}

// CommentFiles reads comments from files with a serialised google.protobuf.FileDescriptorSet that
// has source code info, as `protoc --include_source_info --descriptor_set_out` and `buf build -o`
// write them. The files need not have what they import. If two of them say something about a name,
// the first one counts.
type CommentFiles struct {
	paths   []string
	tracker *tracker
}

// NewCommentFiles returns a reader of these files. It does not read yet.
func NewCommentFiles(paths ...string) *CommentFiles {
	return &CommentFiles{paths: paths, tracker: newTracker()}
}

// Load reads all files. Errors name the file. They are those of the file system, or say that it is
// not a descriptor set or has no comments.
func (f *CommentFiles) Load() (*Comments, error) {
	read := f.tracker.begin()
	defer read.end()
	out := &Comments{text: make(map[protoreflect.FullName]string)}
	for _, path := range f.paths {
		raw, err := read.file(path)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		set := &descriptorpb.FileDescriptorSet{}
		if err := (proto.UnmarshalOptions{Resolver: optionTypes(), AllowPartial: true}).Unmarshal(raw, set); err != nil || len(set.GetFile()) == 0 {
			if err == nil {
				err = errors.New("it has no .proto file in it")
			}
			return nil, fmt.Errorf("read comments: %s is not a serialised google.protobuf.FileDescriptorSet: %w", path, err)
		}
		if err := out.addSet(set); err != nil {
			return nil, fmt.Errorf("read comments: %s: %w", path, err)
		}
	}
	return out, nil
}

// Watch calls changed when one of the files may have changed, until ctx is done. It blocks.
func (f *CommentFiles) Watch(ctx context.Context, changed func()) { f.tracker.watch(ctx, changed) }

func (c *Comments) addSet(set *descriptorpb.FileDescriptorSet) error {
	found := false
	for _, fd := range set.GetFile() {
		if len(fd.GetSourceCodeInfo().GetLocation()) == 0 {
			continue
		}
		found = true
		// Only names and places matter, so nothing that the file imports has to be there.
		file, err := (protodesc.FileOptions{AllowUnresolvable: true}).New(fd, nil)
		if err != nil {
			return badFile(fd.GetName(), err)
		}
		c.addServices(file.Services())
		c.addMessages(file.Messages())
		c.addEnums(file.Enums())
		addEach(c, file.Extensions())
	}
	if !found {
		return errors.New("it has no comments (protoc puts them into the set with --include_source_info)")
	}
	return nil
}

func (c *Comments) addServices(all protoreflect.ServiceDescriptors) {
	addEach(c, all)
	for i := range all.Len() {
		addEach(c, all.Get(i).Methods())
	}
}

func (c *Comments) addMessages(all protoreflect.MessageDescriptors) {
	addEach(c, all)
	for i := range all.Len() {
		md := all.Get(i)
		addEach(c, md.Fields())
		addEach(c, md.Oneofs())
		addEach(c, md.Extensions())
		c.addEnums(md.Enums())
		c.addMessages(md.Messages())
	}
}

func (c *Comments) addEnums(all protoreflect.EnumDescriptors) {
	addEach(c, all)
	for i := range all.Len() {
		addEach(c, all.Get(i).Values())
	}
}

// addEach keeps the comments on the declarations of one kind.
func addEach[D protoreflect.Descriptor](c *Comments, all interface {
	Len() int
	Get(i int) D
},
) {
	for i := range all.Len() {
		d := all.Get(i)
		at := d.ParentFile().SourceLocations().ByDescriptor(d)
		text := at.LeadingComments
		if strings.TrimSpace(text) == "" {
			text = at.TrailingComments
		}
		if _, ok := c.text[d.FullName()]; !ok && strings.TrimSpace(text) != "" {
			c.text[d.FullName()] = text
		}
	}
}
