// Package local serves gRPC services from within the process. It is a connection whose other end is
// an implementation and not an upstream. So every protocol calls the gateway's own services like
// all others. It is not for services with work to do: it hands over one message at a time, and has
// no other flow control and no interceptors.
package local

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Upstream is the name of the upstream in the methods of a Server.
const Upstream = "gateway"

// Server is a grpc.ServiceRegistrar, and a grpc.ClientConnInterface to the services that were
// registered. Register them before the first call. Calls are safe for concurrent use. Messages are
// raw, as frontend.Method says.
type Server struct {
	services map[string]*service
	calls    sync.WaitGroup
}

type service struct {
	desc *grpc.ServiceDesc
	impl any
}

// NewServer returns a Server without services.
func NewServer() *Server { return &Server{services: make(map[string]*service)} }

// RegisterService implements grpc.ServiceRegistrar.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.services[desc.ServiceName] = &service{desc, impl}
}

// Wait waits until no call is running. Calls end when their clients do.
func (s *Server) Wait() { s.calls.Wait() }

// Methods returns the methods for a table, with codecs of the given options. The descriptors of the
// services are compiled in.
func (s *Server) Methods(json transcode.Options) ([]*frontend.Method, error) {
	compiler := transcode.NewCompiler(protoregistry.GlobalTypes, json)
	var methods []*frontend.Method
	for name := range s.services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return nil, fmt.Errorf("local service %s: %w", name, err)
		}
		sd, ok := d.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("local service %s: it is not a service", name)
		}
		for i := range sd.Methods().Len() {
			m, err := s.method(compiler, sd.Methods().Get(i))
			if err != nil {
				return nil, fmt.Errorf("local service %s: %w", name, err)
			}
			methods = append(methods, m)
		}
	}
	return methods, nil
}

func (s *Server) method(compiler *transcode.Compiler, md protoreflect.MethodDescriptor) (*frontend.Method, error) {
	request, err := compiler.Codec(md.Input())
	if err != nil {
		return nil, err
	}
	response, err := compiler.Codec(md.Output())
	if err != nil {
		return nil, err
	}
	name := string(md.Parent().FullName()) + "/" + string(md.Name())
	return &frontend.Method{
		Name: name, Path: "/" + name, Upstream: Upstream, Desc: md, Conn: s,
		Request: request, Response: response, Types: protoregistry.GlobalTypes,
		StreamDesc: grpc.StreamDesc{
			StreamName: string(md.Name()), ServerStreams: md.IsStreamingServer(), ClientStreams: md.IsStreamingClient(),
		},
	}, nil
}

// Invoke implements grpc.ClientConnInterface. Options other than grpc.Header and grpc.Trailer are
// ignored.
func (s *Server) Invoke(ctx context.Context, path string, args, reply any, opts ...grpc.CallOption) error {
	cs, err := s.NewStream(ctx, &grpc.StreamDesc{}, path)
	if err != nil {
		return err
	}
	_ = cs.SendMsg(args) // RecvMsg tells an error of sending, and better.
	err = cs.RecvMsg(reply)
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr, _ = cs.Header()
		case grpc.TrailerCallOption:
			*o.TrailerAddr = cs.Trailer()
		}
	}
	return err
}

// NewStream implements grpc.ClientConnInterface.
func (s *Server) NewStream(ctx context.Context, desc *grpc.StreamDesc, path string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	run, err := s.find(path)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, frontend.ContextError(err)
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	c := &call{
		ctx: metadata.NewIncomingContext(ctx, md), many: desc.ServerStreams,
		in: make(chan mem.BufferSlice), out: make(chan []byte),
		closed: make(chan struct{}), headed: make(chan struct{}), done: make(chan struct{}),
	}
	s.calls.Go(func() { c.finish(run(&serverStream{c})) })
	return clientStream{c}, nil
}

// find returns a function that runs a method.
func (s *Server) find(path string) (func(*serverStream) error, error) {
	name, method, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	svc, ok := s.services[name]
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "unknown service %s", name)
	}
	for i := range svc.desc.Streams {
		if d := &svc.desc.Streams[i]; d.StreamName == method {
			return func(ss *serverStream) error { return d.Handler(svc.impl, ss) }, nil
		}
	}
	for i := range svc.desc.Methods {
		if d := &svc.desc.Methods[i]; d.MethodName == method {
			return func(ss *serverStream) error {
				resp, err := d.Handler(svc.impl, ss.Context(), ss.RecvMsg, nil)
				if err != nil {
					return err
				}
				return ss.SendMsg(resp)
			}, nil
		}
	}
	return nil, status.Errorf(codes.Unimplemented, "unknown method %s of service %s", method, name)
}

// call is what both ends of a stream share.
type call struct {
	ctx  context.Context
	many bool // The server may send more than one message.
	in   chan mem.BufferSlice
	out  chan []byte

	closeOnce sync.Once
	closed    chan struct{} // Closed when the client sends no more.
	headOnce  sync.Once
	headed    chan struct{} // Closed when the header is final.
	done      chan struct{} // Closed when the server is done. Then err and trailer are final.

	mu      sync.Mutex
	header  metadata.MD
	trailer metadata.MD
	err     error
}

func (c *call) finish(err error) {
	if err != nil {
		c.err = status.Convert(err).Err()
	}
	close(c.done)
}

// clientStream implements grpc.ClientStream.
type clientStream struct{ c *call }

func (s clientStream) Context() context.Context { return s.c.ctx }

// Header waits for the header. If the call ends before, the header is nil, unless the call
// succeeded.
func (s clientStream) Header() (metadata.MD, error) {
	select {
	case <-s.c.headed:
	case <-s.c.done:
		select {
		case <-s.c.headed:
		default:
			if s.c.err != nil {
				return nil, nil
			}
		}
	case <-s.c.ctx.Done():
		return nil, nil
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.header == nil {
		return metadata.MD{}, nil
	}
	return s.c.header, nil
}

func (s clientStream) Trailer() metadata.MD {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.trailer
}

func (s clientStream) CloseSend() error {
	s.c.closeOnce.Do(func() { close(s.c.closed) })
	return nil
}

func (s clientStream) SendMsg(m any) error {
	msg, ok := m.(mem.BufferSlice)
	if !ok {
		return status.Errorf(codes.Internal, "local call: cannot send a %T", m)
	}
	select {
	case s.c.in <- msg:
		return nil
	case <-s.c.done:
	case <-s.c.ctx.Done():
	}
	msg.Free()
	return io.EOF
}

func (s clientStream) RecvMsg(m any) error {
	to, ok := m.(*mem.BufferSlice)
	if !ok {
		return status.Errorf(codes.Internal, "local call: cannot receive into a %T", m)
	}
	select {
	case b := <-s.c.out:
		if !s.c.many {
			<-s.c.done // This is immediate, because the message was the last.
			if s.c.err != nil {
				return s.c.err
			}
		}
		*to = mem.BufferSlice{mem.SliceBuffer(b)}
		return nil
	case <-s.c.done:
		if s.c.err != nil {
			return s.c.err
		}
		return io.EOF
	case <-s.c.ctx.Done():
		return frontend.ContextError(s.c.ctx.Err())
	}
}

// serverStream implements grpc.ServerStream.
type serverStream struct{ c *call }

func (s *serverStream) Context() context.Context { return s.c.ctx }

func (s *serverStream) SetHeader(md metadata.MD) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.header = metadata.Join(s.c.header, md)
	return nil
}

func (s *serverStream) SendHeader(md metadata.MD) error {
	if err := s.SetHeader(md); err != nil {
		return err
	}
	s.c.headOnce.Do(func() { close(s.c.headed) })
	return nil
}

func (s *serverStream) SetTrailer(md metadata.MD) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.trailer = metadata.Join(s.c.trailer, md)
}

func (s *serverStream) SendMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "local call: cannot send a %T", m)
	}
	b, err := proto.Marshal(msg)
	if err != nil {
		return status.Errorf(codes.Internal, "local call: %v", err)
	}
	_ = s.SendHeader(nil)
	select {
	case s.c.out <- b:
		return nil
	case <-s.c.ctx.Done():
		return status.FromContextError(s.c.ctx.Err()).Err()
	}
}

func (s *serverStream) RecvMsg(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "local call: cannot receive into a %T", m)
	}
	select {
	case raw := <-s.c.in:
		defer raw.Free()
		if err := proto.Unmarshal(raw.Materialize(), msg); err != nil {
			return status.Error(codes.InvalidArgument, "the request message cannot be decoded")
		}
		return nil
	case <-s.c.closed:
		return io.EOF
	case <-s.c.ctx.Done():
		return status.FromContextError(s.c.ctx.Err()).Err()
	}
}

// Interface guards.
var (
	_ grpc.ClientConnInterface = (*Server)(nil)
	_ grpc.ServiceRegistrar    = (*Server)(nil)
	_ grpc.ClientStream        = clientStream{}
	_ grpc.ServerStream        = (*serverStream)(nil)
)
