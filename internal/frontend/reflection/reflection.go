// Package reflection tells clients such as grpcurl what can be called through the gateway. It
// serves gRPC server reflection, v1 and v1alpha, for the methods of all upstreams together. What
// `hide` names is not in any answer.
//
// It is not how the gateway learns its upstreams' schemas. Package schema does that.
package reflection

import (
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Register registers both versions of the service. table returns the current table, or nil while
// there is none. The methods in Table.Methods are described, and what only others need is left out.
// Where files of two upstreams have the same name and differ, each gets a name of its own.
func Register(to grpc.ServiceRegistrar, table func() *frontend.Table) {
	s := &server{table: table}
	reflectionv1.RegisterServerReflectionServer(to, s)
	reflectionv1alpha.RegisterServerReflectionServer(to, alphaServer{server: s})
}

// server answers from an index of the current table.
type server struct {
	reflectionv1.UnimplementedServerReflectionServer

	table func() *frontend.Table

	mu   sync.Mutex
	last *index // Nil before the first question.
}

// index returns the index of the current table. It is made with the first question about a table,
// and one at a time.
func (s *server) index() *index {
	t := s.table()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || s.last.table != t {
		s.last = newIndex(t)
	}
	return s.last
}

// ServerReflectionInfo implements the service.
func (s *server) ServerReflectionInfo(stream reflectionv1.ServerReflection_ServerReflectionInfoServer) error {
	return s.serve(stream.Recv, stream.Send)
}

// serve answers the questions of one stream.
func (s *server) serve(recv func() (*reflectionv1.ServerReflectionRequest, error), send func(*reflectionv1.ServerReflectionResponse) error) error {
	var c conversation
	for {
		question, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := c.answer(s.index(), question)
		if err != nil {
			return err
		}
		if err := send(answer); err != nil {
			return err
		}
	}
}

// alphaServer serves v1alpha, whose messages are the same on the wire.
type alphaServer struct {
	reflectionv1alpha.UnimplementedServerReflectionServer

	server *server
}

// ServerReflectionInfo implements the service.
func (s alphaServer) ServerReflectionInfo(stream reflectionv1alpha.ServerReflection_ServerReflectionInfoServer) error {
	return s.server.serve(func() (*reflectionv1.ServerReflectionRequest, error) {
		alpha, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		question := &reflectionv1.ServerReflectionRequest{}
		return question, convert(question, alpha)
	}, func(answer *reflectionv1.ServerReflectionResponse) error {
		//nolint:staticcheck // v1alpha is deprecated, and there are clients that speak nothing else.
		alpha := &reflectionv1alpha.ServerReflectionResponse{}
		if err := convert(alpha, answer); err != nil {
			return err
		}
		return stream.Send(alpha)
	})
}

func convert(to, from proto.Message) error {
	raw, err := proto.Marshal(from)
	if err == nil {
		err = proto.Unmarshal(raw, to)
	}
	if err != nil {
		return status.Errorf(codes.Internal, "converting a message between v1 and v1alpha: %v", err)
	}
	return nil
}

// conversation is the state of one stream.
type conversation struct {
	index *index
	// sent are the files of the index that the client has.
	sent map[*file]bool
}

func (c *conversation) answer(i *index, q *reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error) {
	if c.index != i {
		// The table has changed. The client has none of the new files.
		c.index, c.sent = i, map[*file]bool{}
	}
	resp := &reflectionv1.ServerReflectionResponse{ValidHost: q.GetHost(), OriginalRequest: q}
	switch q := q.GetMessageRequest().(type) {
	case *reflectionv1.ServerReflectionRequest_FileByFilename:
		c.sendFile(resp, i.byPath[q.FileByFilename], "file", q.FileByFilename)
	case *reflectionv1.ServerReflectionRequest_FileContainingSymbol:
		c.sendFile(resp, i.bySymbol[q.FileContainingSymbol], "symbol", q.FileContainingSymbol)
	case *reflectionv1.ServerReflectionRequest_FileContainingExtension:
		of := q.FileContainingExtension
		c.sendFile(resp, i.extensions[of.GetContainingType()][of.GetExtensionNumber()], "extension of", of.GetContainingType())
	case *reflectionv1.ServerReflectionRequest_AllExtensionNumbersOfType:
		name := q.AllExtensionNumbersOfType
		numbers := i.extensionNumbers(name)
		if len(numbers) == 0 && i.bySymbol[name] == nil {
			notFound(resp, "type", name)
			break
		}
		resp.MessageResponse = &reflectionv1.ServerReflectionResponse_AllExtensionNumbersResponse{
			AllExtensionNumbersResponse: &reflectionv1.ExtensionNumberResponse{BaseTypeName: name, ExtensionNumber: numbers},
		}
	case *reflectionv1.ServerReflectionRequest_ListServices:
		list := &reflectionv1.ListServiceResponse{}
		for _, name := range i.services {
			list.Service = append(list.Service, &reflectionv1.ServiceResponse{Name: name})
		}
		resp.MessageResponse = &reflectionv1.ServerReflectionResponse_ListServicesResponse{ListServicesResponse: list}
	default:
		return nil, status.Error(codes.InvalidArgument, "the request has no question that this server knows")
	}
	return resp, nil
}

// sendFile answers with a file and what it imports. A file that the client has is not sent again,
// but for the one that was asked for.
func (c *conversation) sendFile(resp *reflectionv1.ServerReflectionResponse, f *file, what, name string) {
	if f == nil {
		notFound(resp, what, name)
		return
	}
	files := &reflectionv1.FileDescriptorResponse{}
	c.sent[f] = false
	queue := []*file{f}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if c.sent[next] {
			continue // And so is everything that it imports.
		}
		c.sent[next] = true
		files.FileDescriptorProto = append(files.FileDescriptorProto, next.raw)
		queue = append(queue, next.imports...)
	}
	resp.MessageResponse = &reflectionv1.ServerReflectionResponse_FileDescriptorResponse{FileDescriptorResponse: files}
}

func notFound(resp *reflectionv1.ServerReflectionResponse, what, name string) {
	resp.MessageResponse = &reflectionv1.ServerReflectionResponse_ErrorResponse{ErrorResponse: &reflectionv1.ErrorResponse{
		ErrorCode: int32(codes.NotFound), ErrorMessage: what + " not found: " + name,
	}}
}
