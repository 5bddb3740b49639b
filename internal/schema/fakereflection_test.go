package schema

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// fakeReflection is a reflection server that is called through a grpc.ClientConnInterface, without
// a network. It sends a file without those that it imports, and can be made to misbehave.
type fakeReflection struct {
	// methods are the methods that it has. Default: that of v1.
	methods []string
	listed  []string
	// files are the files by the paths that the server knows.
	files map[string]*descriptorpb.FileDescriptorProto
	// edit changes an answer before it is sent, or fails the stream.
	edit func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error
	// perStream is how many questions are answered before the stream is ended. 0: all.
	perStream int
	// backwards makes it answer the last question first, with original_request.
	backwards bool
	// silent makes it answer no question.
	silent bool

	streams, questions int
	asked              []string
}

func (f *fakeReflection) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return status.Error(codes.Unimplemented, "no unary methods")
}

func (f *fakeReflection) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	f.streams++
	s := &fakeStream{f: f, ctx: ctx}
	methods := f.methods
	if methods == nil {
		methods = []string{reflectV1}
	}
	for _, m := range methods {
		s.served = s.served || m == method
	}
	return s, nil
}

type fakeStream struct {
	grpc.ClientStream
	f        *fakeReflection
	ctx      context.Context
	served   bool
	waiting  []*reflectionpb.ServerReflectionRequest
	answered int
}

func (s *fakeStream) CloseSend() error { return nil }

func (s *fakeStream) SendMsg(m any) error {
	if !s.served {
		return io.EOF
	}
	s.waiting = append(s.waiting, m.(*reflectionpb.ServerReflectionRequest))
	return nil
}

func (s *fakeStream) RecvMsg(m any) error {
	if !s.served {
		return status.Error(codes.Unimplemented, "unknown service")
	}
	if len(s.waiting) == 0 || s.f.silent {
		<-s.ctx.Done()
		return status.FromContextError(s.ctx.Err()).Err()
	}
	if s.f.perStream > 0 && s.answered == s.f.perStream {
		return io.EOF
	}
	s.answered++
	q := s.waiting[0]
	s.waiting = s.waiting[1:]
	if s.f.backwards {
		s.waiting = append([]*reflectionpb.ServerReflectionRequest{q}, s.waiting...)
		q = s.waiting[len(s.waiting)-1]
		s.waiting = s.waiting[:len(s.waiting)-1]
	}
	resp := s.f.answer(q)
	if s.f.backwards {
		resp.OriginalRequest = q
	}
	if s.f.edit != nil {
		if err := s.f.edit(q, resp); err != nil {
			return err
		}
	}
	proto.Merge(m.(proto.Message), resp)
	return nil
}

func (f *fakeReflection) answer(q *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
	f.questions++
	switch q := q.GetMessageRequest().(type) {
	case *reflectionpb.ServerReflectionRequest_ListServices:
		list := &reflectionpb.ListServiceResponse{}
		for _, name := range f.listed {
			list.Service = append(list.Service, &reflectionpb.ServiceResponse{Name: name})
		}
		return &reflectionpb.ServerReflectionResponse{
			MessageResponse: &reflectionpb.ServerReflectionResponse_ListServicesResponse{ListServicesResponse: list},
		}
	case *reflectionpb.ServerReflectionRequest_FileByFilename:
		f.asked = append(f.asked, q.FileByFilename)
		return fileResponse(f.files[q.FileByFilename])
	case *reflectionpb.ServerReflectionRequest_FileContainingSymbol:
		f.asked = append(f.asked, q.FileContainingSymbol)
		for _, fd := range f.files {
			if declares(fd, q.FileContainingSymbol) {
				return fileResponse(fd)
			}
		}
	case *reflectionpb.ServerReflectionRequest_FileContainingExtension:
		of := q.FileContainingExtension
		f.asked = append(f.asked, fmt.Sprint(of.GetContainingType(), " ", of.GetExtensionNumber()))
		for _, fd := range f.files {
			for _, x := range fd.GetExtension() {
				if x.GetExtendee() == "."+of.GetContainingType() && x.GetNumber() == of.GetExtensionNumber() {
					return fileResponse(fd)
				}
			}
		}
	}
	return fileResponse(nil)
}

func declares(fd *descriptorpb.FileDescriptorProto, symbol string) bool {
	name, ok := strings.CutPrefix(symbol, fd.GetPackage()+".")
	if !ok {
		return false
	}
	for _, s := range fd.GetService() {
		if s.GetName() == name {
			return true
		}
	}
	for _, m := range fd.GetMessageType() {
		if m.GetName() == name {
			return true
		}
	}
	for _, x := range fd.GetExtension() {
		if x.GetName() == name {
			return true
		}
	}
	for _, e := range fd.GetEnumType() {
		if e.GetName() == name {
			return true
		}
	}
	return false
}

func fileResponse(fd *descriptorpb.FileDescriptorProto) *reflectionpb.ServerReflectionResponse {
	if fd == nil {
		return errorResponse(codes.NotFound)
	}
	raw, err := proto.Marshal(fd)
	if err != nil {
		return errorResponse(codes.Internal)
	}
	return bytesResponse(raw)
}

func bytesResponse(raw ...[]byte) *reflectionpb.ServerReflectionResponse {
	return &reflectionpb.ServerReflectionResponse{
		MessageResponse: &reflectionpb.ServerReflectionResponse_FileDescriptorResponse{
			FileDescriptorResponse: &reflectionpb.FileDescriptorResponse{FileDescriptorProto: raw},
		},
	}
}

func errorResponse(code codes.Code) *reflectionpb.ServerReflectionResponse {
	return &reflectionpb.ServerReflectionResponse{
		MessageResponse: &reflectionpb.ServerReflectionResponse_ErrorResponse{
			ErrorResponse: &reflectionpb.ErrorResponse{ErrorCode: int32(code), ErrorMessage: code.String()},
		},
	}
}
