// Package reflection tells clients such as grpcurl what can be called through the gateway: gRPC server reflection, v1 and v1alpha, of the
// methods of all upstreams together. It is not how the gateway learns its upstreams' schemas: package schema is.
package reflection

import (
	"maps"
	"slices"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Register registers both versions of the service. table returns the table of the moment, nil while there is none: what can be called
// by its own path is what is told. Where two upstreams have different files of the same name, each service comes with its own.
func Register(to grpc.ServiceRegistrar, table func() *frontend.Table) {
	s := &schema{table: table}
	opts := reflection.ServerOptions{Services: s, DescriptorResolver: s, ExtensionResolver: s}
	reflectionv1.RegisterServerReflectionServer(to, reflection.NewServerV1(opts))
	reflectionv1alpha.RegisterServerReflectionServer(to, reflection.NewServer(opts))
}

// schema answers from an index of the current table.
type schema struct {
	table func() *frontend.Table
	last  atomic.Pointer[index]
}

// index is what is known of one table. Immutable.
type index struct {
	table    *frontend.Table
	services map[string]grpc.ServiceInfo
	files    []*protoregistry.Files // of each upstream, by name, then what the gateway itself knows
}

func (s *schema) index() *index {
	t := s.table()
	if i := s.last.Load(); i != nil && i.table == t {
		return i
	}
	i := newIndex(t)
	s.last.Store(i)
	return i
}

func newIndex(t *frontend.Table) *index {
	i := &index{table: t, services: make(map[string]grpc.ServiceInfo)}
	if t == nil {
		return i
	}
	upstreams := make(map[string]*protoregistry.Files)
	for _, m := range t.Methods {
		if m.Desc == nil {
			continue
		}
		name := string(m.Desc.Parent().FullName())
		info := i.services[name]
		info.Methods = append(info.Methods, grpc.MethodInfo{
			Name: string(m.Desc.Name()), IsClientStream: m.Desc.IsStreamingClient(), IsServerStream: m.Desc.IsStreamingServer(),
		})
		i.services[name] = info
		files, ok := upstreams[m.Upstream]
		if !ok {
			files = new(protoregistry.Files)
			upstreams[m.Upstream] = files
		}
		register(files, m.Desc.ParentFile())
	}
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		i.files = append(i.files, upstreams[name])
	}
	// The usual details of errors are in no schema, as no method returns them; last, for those that have their own.
	details := new(protoregistry.Files)
	register(details, errdetails.File_google_rpc_error_details_proto)
	i.files = append(i.files, details)
	return i
}

// register adds a file and what it imports. A file that cannot be added is there already.
func register(files *protoregistry.Files, fd protoreflect.FileDescriptor) {
	if fd.IsPlaceholder() {
		return
	}
	if _, err := files.FindFileByPath(fd.Path()); err == nil {
		return
	}
	imports := fd.Imports()
	for i := range imports.Len() {
		register(files, imports.Get(i).FileDescriptor)
	}
	_ = files.RegisterFile(fd)
}

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (s *schema) GetServiceInfo() map[string]grpc.ServiceInfo { return s.index().services }

// FindFileByPath implements protodesc.Resolver.
func (s *schema) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	for _, files := range s.index().files {
		if fd, err := files.FindFileByPath(path); err == nil {
			return fd, nil
		}
	}
	return nil, protoregistry.NotFound
}

// FindDescriptorByName implements protodesc.Resolver.
func (s *schema) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	for _, files := range s.index().files {
		if d, err := files.FindDescriptorByName(name); err == nil {
			return d, nil
		}
	}
	return nil, protoregistry.NotFound
}

// FindExtensionByName implements reflection.ExtensionResolver.
func (s *schema) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	d, err := s.FindDescriptorByName(name)
	if err != nil {
		return nil, err
	}
	xd, ok := d.(protoreflect.ExtensionDescriptor)
	if !ok || !xd.IsExtension() {
		return nil, protoregistry.NotFound
	}
	return dynamicpb.NewExtensionType(xd), nil
}

// FindExtensionByNumber implements reflection.ExtensionResolver.
func (s *schema) FindExtensionByNumber(message protoreflect.FullName, number protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	var found protoreflect.ExtensionType
	s.RangeExtensionsByMessage(message, func(xt protoreflect.ExtensionType) bool {
		if xt.TypeDescriptor().Number() == number {
			found = xt
		}
		return found == nil
	})
	if found == nil {
		return nil, protoregistry.NotFound
	}
	return found, nil
}

// RangeExtensionsByMessage implements reflection.ExtensionResolver.
func (s *schema) RangeExtensionsByMessage(message protoreflect.FullName, fn func(protoreflect.ExtensionType) bool) {
	for _, files := range s.index().files {
		more := true
		files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
			more = rangeExtensions(fd, message, fn)
			return more
		})
		if !more {
			return
		}
	}
}

// extensions is what files and messages have in common.
type extensions interface {
	Extensions() protoreflect.ExtensionDescriptors
	Messages() protoreflect.MessageDescriptors
}

func rangeExtensions(in extensions, message protoreflect.FullName, fn func(protoreflect.ExtensionType) bool) bool {
	for i := range in.Extensions().Len() {
		xd := in.Extensions().Get(i)
		if xd.ContainingMessage().FullName() == message && !fn(dynamicpb.NewExtensionType(xd)) {
			return false
		}
	}
	for i := range in.Messages().Len() {
		if !rangeExtensions(in.Messages().Get(i), message, fn) {
			return false
		}
	}
	return true
}
