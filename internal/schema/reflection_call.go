package schema

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// reflectionBatch is the maximum number of questions that are asked before the answers are
	// read. It is enough to hide the round trips, and little enough to fit any flow-control window.
	reflectionBatch = 32
	// maxServices is the maximum number of services that a server may list.
	maxServices = 20_000
	// maxReflectionMessage is the maximum size of one answer in bytes. A server may put all files
	// into one.
	maxReflectionMessage = 16 << 20
)

// reflectionLimits are what is left to be read.
type reflectionLimits struct {
	// bytes is the size of the files, each counted once.
	bytes int
	// traffic is the size of all answers.
	traffic      int
	questions    int
	declarations int
}

// reflectionCall asks the questions of one load. It uses one stream, or several if the server ends
// the stream after each answer.
type reflectionCall struct {
	conn   grpc.ClientConnInterface
	method string
	limits reflectionLimits
	left   reflectionLimits

	stream grpc.ClientStream
	// answers is how many were read from the stream.
	answers int
	// works reports whether the server has answered at all.
	works  bool
	cancel context.CancelFunc
	// batch is how many questions are asked at once. It grows, because the first answers may make
	// many questions superfluous.
	batch int

	files *assembly
	// seen are the hashes of the files that came.
	seen map[[sha256.Size]byte]bool
	// asked are the paths of files and the names of types that were asked for.
	asked map[string]bool
}

func newReflectionCall(conn grpc.ClientConnInterface, method string, files *assembly, limits reflectionLimits) *reflectionCall {
	files.merges = maxMergeSteps
	return &reflectionCall{
		conn: conn, method: method, limits: limits, left: limits, batch: 1,
		files: files, seen: map[[sha256.Size]byte]bool{}, asked: map[string]bool{},
	}
}

func (c *reflectionCall) open(ctx context.Context) error {
	c.close()
	ctx, cancel := context.WithCancel(ctx)
	desc := &grpc.StreamDesc{StreamName: "ServerReflectionInfo", ServerStreams: true, ClientStreams: true}
	stream, err := c.conn.NewStream(ctx, desc, c.method, grpc.MaxCallRecvMsgSize(min(c.left.traffic, maxReflectionMessage)))
	if err != nil {
		cancel()
		return err
	}
	c.stream, c.answers, c.cancel = stream, 0, cancel
	return nil
}

func (c *reflectionCall) close() {
	if c.stream == nil {
		return
	}
	// The end of the load is not an error for the server: it sees a half-close, then the
	// cancellation.
	_ = c.stream.CloseSend()
	c.cancel()
	c.stream = nil
}

type (
	question = reflectionpb.ServerReflectionRequest
	answer   = reflectionpb.ServerReflectionResponse
)

func fileNamed(path string) *question {
	return &question{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: path}}
}

func fileWithSymbol(name string) *question {
	return &question{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}}
}

// ask asks all questions and hands each answer to fn, with the question that it belongs to. It
// leaves out questions for services that are described already.
func (c *reflectionCall) ask(ctx context.Context, questions []*question, fn func(*question, *answer) error) error {
	for len(questions) > 0 {
		questions = slices.DeleteFunc(questions, func(q *question) bool {
			return q.GetFileContainingSymbol() != "" && c.files.services[q.GetFileContainingSymbol()]
		})
		batch := questions[:min(len(questions), c.batch)]
		if c.left.questions -= len(batch); c.left.questions < 0 {
			return limitError(fmt.Sprintf("the server's descriptors need more than %d questions", c.limits.questions))
		}
		open, err := c.askBatch(ctx, batch, fn)
		if err != nil {
			return err
		}
		questions = append(open, questions[len(batch):]...)
		c.batch = min(2*c.batch, reflectionBatch)
	}
	return nil
}

// askBatch returns the questions that were not answered. It is fewer than there were. Some are left
// if the server ended the stream.
func (c *reflectionCall) askBatch(ctx context.Context, batch []*question, fn func(*question, *answer) error) ([]*question, error) {
	if c.stream == nil && len(batch) > 0 {
		if err := c.open(ctx); err != nil {
			return nil, err
		}
	}
	for _, q := range batch {
		if err := c.stream.SendMsg(q); err != nil {
			break // io.EOF: RecvMsg tells why.
		}
	}
	open := slices.Clone(batch)
	for len(open) > 0 {
		resp := &answer{}
		if err := c.stream.RecvMsg(resp); err != nil {
			if errors.Is(err, io.EOF) {
				if c.answers == 0 {
					return nil, errors.New("the server ended the stream without an answer")
				}
				c.close()
				return open, nil
			}
			if !c.works || !speaksOfTheQuestion(err) {
				return nil, err
			}
			// The server ends the stream when it cannot answer. The first question is the one.
			c.close()
			return open[1:], fn(open[0], errorAnswer(err))
		}
		c.answers++
		c.works = true
		if c.left.traffic -= proto.Size(resp); c.left.traffic <= 0 {
			return nil, limitError(fmt.Sprintf("the server's answers are larger than the limit of %d bytes", c.limits.traffic))
		}
		i := answered(open, resp)
		q := open[i]
		open = slices.Delete(open, i, i+1)
		if err := fn(q, resp); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// speaksOfTheQuestion reports whether the error of a stream says that the server cannot answer a
// question, rather than that it cannot answer now.
func speaksOfTheQuestion(err error) bool {
	switch status.Code(err) {
	case codes.NotFound, codes.InvalidArgument, codes.Unimplemented:
		return true
	default:
		return false
	}
}

func errorAnswer(err error) *answer {
	return &answer{MessageResponse: &reflectionpb.ServerReflectionResponse_ErrorResponse{ErrorResponse: &reflectionpb.ErrorResponse{
		ErrorCode: int32(status.Code(err)), ErrorMessage: status.Convert(err).Message(),
	}}}
}

// answered is the position of the question that resp answers. Servers answer in order.
// original_request matters only for a server that does not, and not all servers fill it in.
func answered(open []*question, resp *answer) int {
	if orig := resp.GetOriginalRequest(); orig.GetMessageRequest() != nil {
		for i, q := range open {
			if q.GetFileByFilename() == orig.GetFileByFilename() && q.GetFileContainingSymbol() == orig.GetFileContainingSymbol() &&
				proto.Equal(q.GetFileContainingExtension(), orig.GetFileContainingExtension()) {
				return i
			}
		}
	}
	return 0
}

// take adds the files of an answer and returns their paths. failed is called for what cannot be
// used.
func (c *reflectionCall) take(resp *answer, failed func(error)) (paths []string, err error) {
	switch {
	case resp.GetErrorResponse() != nil:
		failed(answeredError(resp.GetErrorResponse()))
	case resp.GetFileDescriptorResponse() != nil:
		for _, raw := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
			path, err := c.takeFile(raw)
			if path != "" {
				paths = append(paths, path)
			}
			var conflict *ConflictError
			var limit limitError
			if errors.As(err, &conflict) || errors.As(err, &limit) {
				return nil, err
			} else if err != nil {
				failed(err)
			}
		}
	default:
		failed(fmt.Errorf("the server answered with %s", kindOf(resp)))
	}
	return paths, nil
}

// kindOf names what is in an answer. A server that takes any call may send an empty one.
func kindOf(resp *answer) string {
	if resp.GetMessageResponse() == nil {
		return "something that is not server reflection"
	}
	return fmt.Sprintf("%T", resp.GetMessageResponse())
}

// takeFile adds a file, unless it is known.
func (c *reflectionCall) takeFile(raw []byte) (path string, err error) {
	sum := sha256.Sum256(raw)
	if c.seen[sum] {
		return fileName(raw), nil
	}
	if c.left.bytes -= len(raw); c.left.bytes <= 0 {
		return "", limitError(fmt.Sprintf("the server's descriptors are larger than the limit of %d bytes", c.limits.bytes))
	}
	if c.left.declarations -= countDeclarations(raw, "FileDescriptorProto", c.left.declarations); c.left.declarations < 0 {
		return "", limitError(fmt.Sprintf("the server's descriptors have more than %d declarations", c.limits.declarations))
	}
	c.seen[sum] = true
	return c.files.addBytes(raw, "server reflection")
}

// limitError says that a load has read more than it may.
type limitError string

func (e limitError) Error() string { return string(e) }

// answeredError is never nil, though a server may call its error OK.
func answeredError(e *reflectionpb.ErrorResponse) error {
	code := codes.Code(uint32(e.GetErrorCode()))
	if code == codes.OK {
		code = codes.Unknown
	}
	return status.Error(code, shortened(e.GetErrorMessage(), maxText))
}
