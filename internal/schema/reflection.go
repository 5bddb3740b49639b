package schema

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The messages of v1 and v1alpha are the same on the wire, so that only the names of the methods differ.
const (
	reflectV1      = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	reflectV1Alpha = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
)

const (
	// reflectionBatch is how many questions are asked before the answers are read: enough to hide the round trips, little enough
	// to fit any flow-control window.
	reflectionBatch = 32
	// maxServices is how many services a server may list.
	maxServices = 20_000
	// maxReflectionMessage is the size in bytes that one answer may have; a server may put all files into one.
	maxReflectionMessage = 16 << 20
)

// ReflectionOptions bound what is read from a server. The zero value of each field means its default.
type ReflectionOptions struct {
	Timeout  time.Duration // for one load; default 10s
	MaxBytes int           // of all answers of one load together; default 32 MiB
}

// Reflection returns a loader that asks the service itself, by grpc.reflection.v1, or v1alpha where
// the server does not have it. It exposes the services that the server lists, but not gRPC's own. A
// service that the server lists and cannot describe is one of the schema's Problems.
//
// All questions of a load go through one stream, so that one instance answers all of them. Files that are common
// (google/protobuf, google/api, google/rpc) are not asked for. Where a file imports another by a path that the server
// does not know, the types are looked up by name.
//
// Errors are *NoReflectionError, *ConflictError, or wrap the status of the call.
func Reflection(conn grpc.ClientConnInterface, opts ReflectionOptions) Loader {
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 32 << 20
	}
	return &reflection{conn: conn, opts: opts}
}

type reflection struct {
	conn grpc.ClientConnInterface
	opts ReflectionOptions

	mu   sync.Mutex
	last struct { // what was built last, and from what
		input  [sha256.Size]byte
		schema *Schema
	}
}

// Watch does nothing: a server does not tell of changes. Reload on Trigger, when instances come, and at intervals.
func (r *reflection) Watch(ctx context.Context, _ func()) { <-ctx.Done() }

// Load implements Loader.
func (r *reflection) Load(ctx context.Context) (*Schema, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel() // Ends the stream.
	s, err := r.load(ctx, reflectV1)
	if status.Code(err) == codes.Unimplemented {
		s, err = r.load(ctx, reflectV1Alpha)
	}
	switch {
	case err == nil:
		return s, nil
	case status.Code(err) == codes.Unimplemented:
		return nil, &NoReflectionError{Err: err}
	case ctx.Err() != nil:
		return nil, fmt.Errorf("server reflection, given %s: %w", r.opts.Timeout, errors.Join(context.Cause(ctx), err))
	default:
		return nil, fmt.Errorf("server reflection: %w", err)
	}
}

func (r *reflection) load(ctx context.Context, method string) (*Schema, error) {
	c := &reflectionCall{
		conn: r.conn, method: method, files: newAssembly(), asked: map[string]bool{},
		bytesLeft: r.opts.MaxBytes, questionsLeft: maxQuestions, declarationsLeft: maxDeclarations,
	}
	defer c.close()
	names, err := c.listServices(ctx)
	if err != nil {
		return nil, err
	}
	problems, err := c.fetchServices(ctx, names)
	if err != nil {
		return nil, err
	}
	if err := c.fetchImports(ctx); err != nil {
		return nil, err
	}
	if err := c.repairImports(ctx); err != nil {
		return nil, err
	}
	s := r.build(c.files, names, problems)
	if len(s.services) > 0 {
		return s, nil
	}
	if len(s.problems) > 0 {
		return nil, fmt.Errorf("none of the services that the server lists can be used: %s", s.problems[0])
	}
	return nil, errors.New("the server lists no services but gRPC's own")
}

// build returns the last schema again when the server said the same as then, which is nearly always: linking is the
// expensive part of a load.
func (r *reflection) build(files *assembly, names []string, problems []Problem) *Schema {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q", names, problems)
	for _, path := range slices.Sorted(maps.Keys(files.given)) {
		// Not the bytes as they came: servers need not write the same file in the same way twice.
		raw := canonical(files.given[path].desc, true)
		fmt.Fprintf(h, "%d ", len(raw))
		h.Write(raw)
	}
	input := [sha256.Size]byte(h.Sum(nil))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.schema == nil || r.last.input != input {
		r.last.input, r.last.schema = input, files.buildLenient(names, problems)
	}
	return r.last.schema
}

// reflectionCall is one load over one stream, or over several where the server ends it after each answer.
type reflectionCall struct {
	conn   grpc.ClientConnInterface
	method string

	bytesLeft, questionsLeft, declarationsLeft int

	stream  grpc.ClientStream
	answers int // read from stream
	cancel  context.CancelFunc

	files *assembly
	asked map[string]bool // paths of files
}

func (c *reflectionCall) open(ctx context.Context) error {
	c.close()
	ctx, cancel := context.WithCancel(ctx)
	desc := &grpc.StreamDesc{StreamName: "ServerReflectionInfo", ServerStreams: true, ClientStreams: true}
	stream, err := c.conn.NewStream(ctx, desc, c.method, grpc.MaxCallRecvMsgSize(min(c.bytesLeft, maxReflectionMessage)))
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
	// The end of the load is no error of the server's: it sees a half-close, then the cancellation.
	_ = c.stream.CloseSend()
	c.cancel()
	c.stream = nil
}

// ask puts all questions and hands each answer to fn, with the question that it belongs to.
func (c *reflectionCall) ask(ctx context.Context, questions []*reflectionpb.ServerReflectionRequest,
	fn func(*reflectionpb.ServerReflectionRequest, *reflectionpb.ServerReflectionResponse) error,
) error {
	if c.questionsLeft -= len(questions); c.questionsLeft < 0 {
		return fmt.Errorf("the server's descriptors need more than %d questions", maxQuestions)
	}
	for len(questions) > 0 {
		batch := questions[:min(len(questions), reflectionBatch)]
		n, err := c.askBatch(ctx, batch, fn)
		if err != nil {
			return err
		}
		questions = questions[n:]
	}
	return nil
}

// askBatch returns how many questions were answered: all, or fewer and at least one when the server ended the stream.
func (c *reflectionCall) askBatch(ctx context.Context, batch []*reflectionpb.ServerReflectionRequest,
	fn func(*reflectionpb.ServerReflectionRequest, *reflectionpb.ServerReflectionResponse) error,
) (int, error) {
	if c.stream == nil {
		if err := c.open(ctx); err != nil {
			return 0, err
		}
	}
	for _, q := range batch {
		if err := c.stream.SendMsg(q); err != nil {
			break // io.EOF: RecvMsg tells why.
		}
	}
	open := slices.Clone(batch)
	for n := range batch {
		resp := &reflectionpb.ServerReflectionResponse{}
		if err := c.stream.RecvMsg(resp); err != nil {
			ended := errors.Is(err, io.EOF)
			if ended && c.answers > 0 {
				c.close()
				return n, nil
			}
			if ended {
				err = errors.New("the server ended the stream without an answer")
			}
			return n, err
		}
		c.answers++
		if c.bytesLeft -= proto.Size(resp); c.bytesLeft <= 0 {
			return n, errors.New("the server's descriptors are larger than the limit")
		}
		i := answered(open, resp)
		q := open[i]
		open = slices.Delete(open, i, i+1)
		if err := fn(q, resp); err != nil {
			return n, err
		}
	}
	return len(batch), nil
}

// answered is the position of the question that resp answers. Servers answer in order; original_request matters only where
// one does not, and not all fill it in.
func answered(open []*reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) int {
	if orig := resp.GetOriginalRequest(); orig.GetMessageRequest() != nil {
		for i, q := range open {
			if q.GetFileByFilename() == orig.GetFileByFilename() && q.GetFileContainingSymbol() == orig.GetFileContainingSymbol() {
				return i
			}
		}
	}
	return 0
}

func (c *reflectionCall) listServices(ctx context.Context) ([]string, error) {
	var names []string
	err := c.ask(ctx, []*reflectionpb.ServerReflectionRequest{
		{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"}},
	}, func(_ *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		if e := resp.GetErrorResponse(); e != nil {
			return fmt.Errorf("list services: %w", answeredError(e))
		}
		if resp.GetListServicesResponse() == nil {
			return fmt.Errorf("list services: the server answered with %T", resp.GetMessageResponse())
		}
		for _, s := range resp.GetListServicesResponse().GetService() {
			if s.GetName() != "" && !IsGRPCOwn(s.GetName()) {
				names = append(names, s.GetName())
			}
		}
		return nil
	})
	if len(names) > maxServices {
		return nil, fmt.Errorf("the server lists %d services, more than the limit of %d", len(names), maxServices)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// fetchServices gets the files that declare the services. A service whose file the server does not give is a problem.
func (c *reflectionCall) fetchServices(ctx context.Context, names []string) ([]Problem, error) {
	var problems []Problem
	var valid []string
	for _, name := range names {
		if len(name) <= maxText && protoreflect.FullName(name).IsValid() {
			valid = append(valid, name)
		} else {
			problems = append(problems, Problem{Subject: shortened(name, maxText), Reason: "it is listed, but that is no valid name"})
		}
	}
	err := c.fetchSymbols(ctx, valid, func(symbol string, err error) {
		problems = append(problems, Problem{Subject: symbol, Reason: "it is listed, but the server does not describe it: " + err.Error()})
	})
	return problems, err
}

// fetchSymbols gets the files that declare the symbols and calls failed for those that the server does not have.
func (c *reflectionCall) fetchSymbols(ctx context.Context, symbols []string, failed func(symbol string, err error)) error {
	questions := make([]*reflectionpb.ServerReflectionRequest, len(symbols))
	for i, s := range symbols {
		questions[i] = &reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: s},
		}
	}
	return c.ask(ctx, questions, func(q *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
		return c.take(resp, func(err error) { failed(q.GetFileContainingSymbol(), err) })
	})
}

// take adds the files of an answer.
func (c *reflectionCall) take(resp *reflectionpb.ServerReflectionResponse, failed func(error)) error {
	switch {
	case resp.GetErrorResponse() != nil:
		failed(answeredError(resp.GetErrorResponse()))
	case resp.GetFileDescriptorResponse() != nil:
		for _, raw := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
			if c.declarationsLeft -= countDeclarations(raw, "FileDescriptorProto", c.declarationsLeft); c.declarationsLeft < 0 {
				return fmt.Errorf("the server's descriptors have more than %d declarations", maxDeclarations)
			}
			var conflict *ConflictError
			if err := c.files.addBytes(raw, "server reflection"); errors.As(err, &conflict) {
				return err
			} else if err != nil {
				failed(err)
			}
		}
	default:
		failed(fmt.Errorf("the server answered with %T", resp.GetMessageResponse()))
	}
	return nil
}

// answeredError is never nil, though a server may call its error OK.
func answeredError(e *reflectionpb.ErrorResponse) error {
	code := codes.Code(uint32(e.GetErrorCode()))
	if code == codes.OK {
		code = codes.Unknown
	}
	return status.Error(code, shortened(e.GetErrorMessage(), maxText))
}

// fetchImports gets the imported files that the server did not send along, until nothing is missing but what it does not have.
func (c *reflectionCall) fetchImports(ctx context.Context) error {
	for {
		var questions []*reflectionpb.ServerReflectionRequest
		for _, path := range c.files.freshImports() {
			// Asked once: whatever the answer, the file is there afterwards or it is missing.
			if c.asked[path] {
				continue
			}
			c.asked[path] = true
			questions = append(questions, &reflectionpb.ServerReflectionRequest{
				MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: path},
			})
		}
		if len(questions) == 0 {
			return nil
		}
		err := c.ask(ctx, questions, func(_ *reflectionpb.ServerReflectionRequest, resp *reflectionpb.ServerReflectionResponse) error {
			return c.take(resp, func(error) {})
		})
		if err != nil {
			return err
		}
	}
}

// repairImports helps where a server knows a file by another path than the files that import it, which happens in Go when
// files of several projects are compiled from different roots: the types that are not found are asked for by name, and
// the files that declare them are imported in the place of the missing ones.
func (c *reflectionCall) repairImports(ctx context.Context) error {
	if symbols := c.files.unresolved(); len(symbols) > 0 {
		if err := c.fetchSymbols(ctx, symbols, func(string, error) {}); err != nil {
			return err
		}
		if err := c.fetchImports(ctx); err != nil {
			return err
		}
	}
	c.files.importByName()
	return nil
}
