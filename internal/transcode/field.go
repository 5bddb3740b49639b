package transcode

import "google.golang.org/protobuf/reflect/protoreflect"

func (c *Codec) Field(path string) (*Field, error) { panic("to be built") }

type Field struct{}

func (f *Field) Descriptor() protoreflect.FieldDescriptor            { panic("to be built") }
func (f *Field) Path() []protoreflect.FieldDescriptor                { panic("to be built") }
func (f *Field) AppendText(dst []byte, value string) ([]byte, error) { panic("to be built") }
func (f *Field) AppendJSON(dst, json []byte) ([]byte, error)         { panic("to be built") }
func (f *Field) WireToJSON(dst, wire []byte) ([]byte, error)         { panic("to be built") }
