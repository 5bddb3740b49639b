package testkit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// maxUpload is how many bytes of an upload stream are sent back.
const maxUpload = 1 << 20

// echo implements testpb.Echo. The instructions of a call are those of its first message that has a
// Script; each message with a Script is an execution of its id.
type echo struct {
	testpb.UnimplementedEchoServer
	b *Backend
}

// Unary answers once, with the request's text.
func (e *echo) Unary(ctx context.Context, req *testpb.EchoRequest) (*testpb.EchoResponse, error) {
	r := run{b: e.b, ctx: ctx, setHeader: func(md metadata.MD) error { return grpc.SetHeader(ctx, md) },
		setTrailer: func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }}
	if err := r.begin(req.GetScript()); err != nil {
		return nil, err
	}
	if err := r.pause(); err != nil {
		return nil, err
	}
	// An answer and an error exclude each other in a unary call, so fail_after is of no account.
	if err := r.failure(); err != nil {
		return nil, err
	}
	return r.answer(req, 0), nil
}

// ServerStream answers with as many messages as the request's count says.
func (e *echo) ServerStream(req *testpb.EchoRequest, ss grpc.ServerStreamingServer[testpb.EchoResponse]) error {
	r := streamRun(e.b, ss)
	if err := r.begin(req.GetScript()); err != nil {
		return err
	}
	for range req.GetCount() {
		if err := r.next(); err != nil {
			return err
		}
		if err := ss.Send(r.answer(req, r.sent)); err != nil {
			return err
		}
	}
	return r.end()
}

// ClientStream answers when the client has half-closed: text has all texts in order, with commas
// between. A failure comes when fail_after messages have been read, or at the end when there are
// fewer.
func (e *echo) ClientStream(ss grpc.ClientStreamingServer[testpb.EchoRequest, testpb.EchoResponse]) error {
	r := streamRun(e.b, ss)
	var texts []string
	var last *testpb.EchoRequest
	for n := int32(1); ; n++ {
		req, err := ss.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		last = req
		texts = append(texts, req.GetText())
		if err := r.begin(req.GetScript()); err != nil {
			return err
		}
		if r.script.GetFailCode() != 0 && n >= r.script.GetFailAfter() {
			break
		}
	}
	if err := r.pause(); err != nil {
		return err
	}
	if err := r.failure(); err != nil {
		return err
	}
	resp := r.answer(last, int32(len(texts)))
	resp.Text = strings.Join(texts, ",")
	return ss.SendAndClose(resp)
}

// Bidi answers each request as it comes, with as many messages as its count says, at least one.
func (e *echo) Bidi(ss grpc.BidiStreamingServer[testpb.EchoRequest, testpb.EchoResponse]) error {
	r := streamRun(e.b, ss)
	for {
		req, err := ss.Recv()
		if errors.Is(err, io.EOF) {
			return r.end()
		}
		if err != nil {
			return err
		}
		if err := r.begin(req.GetScript()); err != nil {
			return err
		}
		for range max(1, req.GetCount()) {
			if err := r.next(); err != nil {
				return err
			}
			if err := ss.Send(r.answer(req, r.sent)); err != nil {
				return err
			}
		}
	}
}

// Upload answers with the content it got, and with the file name in the header metadata x-filename.
func (e *echo) Upload(ctx context.Context, req *testpb.UploadRequest) (*httpbody.HttpBody, error) {
	e.b.executed(idFromMetadata(ctx))
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-filename", req.GetFilename())); err != nil {
		return nil, err
	}
	return req.GetContent(), nil
}

// UploadStream answers with the number of messages, the content type of the first as text, all
// bytes (up to 1 MiB) as request.data and their number as request.big.
func (e *echo) UploadStream(ss grpc.ClientStreamingServer[httpbody.HttpBody, testpb.EchoResponse]) error {
	r := streamRun(e.b, ss)
	e.b.executed(idFromMetadata(ss.Context()))
	got := &testpb.EchoRequest{}
	var contentType string
	var n int32
	for {
		body, err := ss.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if n++; n == 1 {
			contentType = body.GetContentType()
		}
		got.Big += int64(len(body.GetData()))
		got.Data = append(got.Data, body.GetData()[:min(len(body.GetData()), maxUpload-len(got.GetData()))]...)
	}
	resp := r.answer(got, n)
	resp.Text = contentType
	return ss.SendAndClose(resp)
}

// Download answers with as many chunks as count says. The content type, in the first chunk only, is
// the request's wrapped ("text/plain; charset=utf-8" by default); the data of each is the request's
// data, else its text, else "chunk <n>\n"; then comes the filler.
func (e *echo) Download(req *testpb.EchoRequest, ss grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	r := streamRun(e.b, ss)
	if err := r.begin(req.GetScript()); err != nil {
		return err
	}
	for range req.GetCount() {
		if err := r.next(); err != nil {
			return err
		}
		chunk := &httpbody.HttpBody{}
		if r.sent == 1 {
			chunk.ContentType = "text/plain; charset=utf-8"
			if req.GetWrapped() != nil {
				chunk.ContentType = req.GetWrapped().GetValue()
			}
		}
		switch {
		case len(req.GetData()) > 0:
			chunk.Data = append(chunk.Data, req.GetData()...)
		case req.GetText() != "":
			chunk.Data = []byte(req.GetText())
		default:
			chunk.Data = fmt.Appendf(nil, "chunk %d\n", r.sent)
		}
		chunk.Data = append(chunk.Data, r.filler()...)
		if err := ss.Send(chunk); err != nil {
			return err
		}
	}
	return r.end()
}

// run is one call that follows a Script.
type run struct {
	b          *Backend
	ctx        context.Context
	setHeader  func(metadata.MD) error
	setTrailer func(metadata.MD)
	script     *testpb.Script
	sent       int32
}

func streamRun(b *Backend, ss grpc.ServerStream) *run {
	return &run{b: b, ctx: ss.Context(), setHeader: ss.SetHeader, setTrailer: ss.SetTrailer}
}

// begin takes the instructions of the first message that has some, and counts the execution of
// every one.
func (r *run) begin(s *testpb.Script) error {
	if s == nil {
		return nil
	}
	r.b.executed(s.GetId())
	if r.script != nil {
		return nil
	}
	r.script = s
	headers, err := toMetadata(s.GetHeaders())
	if err != nil {
		return err
	}
	trailers, err := toMetadata(s.GetTrailers())
	if err != nil {
		return err
	}
	if err := r.setHeader(headers); err != nil {
		return err
	}
	r.setTrailer(trailers)
	return nil
}

// pause waits before the first answer.
func (r *run) pause() error { return sleep(r.ctx, r.script.GetDelay().AsDuration()) }

// next waits before the next message of a stream and fails where the script says so.
func (r *run) next() error {
	if r.sent == 0 {
		if err := r.pause(); err != nil {
			return err
		}
	} else if err := sleep(r.ctx, r.script.GetInterval().AsDuration()); err != nil {
		return err
	}
	if r.script.GetFailCode() != 0 && r.sent >= r.script.GetFailAfter() {
		return r.failure()
	}
	r.sent++
	return nil
}

// end fails a stream whose script says so and that has not failed yet.
func (r *run) end() error {
	if r.sent == 0 {
		if err := r.pause(); err != nil {
			return err
		}
	}
	return r.failure()
}

func (r *run) failure() error {
	s := r.script
	if s.GetFailCode() == 0 {
		return nil
	}
	st := status.New(codes.Code(uint32(s.GetFailCode())), s.GetFailMessage())
	var details []protoadapt.MessageV1
	if s.GetFailBadRequest() {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "text", Description: "the script says so"},
		}})
	}
	if s.GetFailRetryAfter() != nil {
		details = append(details, &errdetails.RetryInfo{RetryDelay: s.GetFailRetryAfter()})
	}
	if len(details) == 0 {
		return st.Err()
	}
	st, err := st.WithDetails(details...)
	if err != nil {
		return fmt.Errorf("attach details: %w", err)
	}
	return st.Err()
}

func (r *run) filler() string { return strings.Repeat("x", int(max(0, r.script.GetFiller()))) }

func (r *run) answer(req *testpb.EchoRequest, number int32) *testpb.EchoResponse {
	resp := &testpb.EchoResponse{
		Text:     req.GetText(),
		Request:  req,
		Number:   number,
		Metadata: map[string]string{},
		Backend:  r.b.Addr(),
		Filler:   r.filler(),
	}
	md, _ := metadata.FromIncomingContext(r.ctx)
	for k, values := range md {
		if strings.HasSuffix(k, "-bin") {
			for i, v := range values {
				values[i] = base64.StdEncoding.EncodeToString([]byte(v))
			}
		}
		resp.Metadata[k] = strings.Join(values, ", ")
	}
	if t, ok := r.ctx.Deadline(); ok {
		// A deadline this close is told from none at all.
		resp.DeadlineMs = max(1, time.Until(t).Milliseconds())
	}
	return resp
}

// toMetadata reads the values of "-bin" keys as standard base64, as the echo of the request
// metadata writes them.
func toMetadata(m map[string]string) (metadata.MD, error) {
	md := metadata.MD{}
	for k, v := range m {
		if strings.HasSuffix(strings.ToLower(k), "-bin") {
			raw, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return nil, status.Errorf(codes.InvalidArgument, "metadata %s: %v", k, err)
			}
			v = string(raw)
		}
		md.Append(k, v)
	}
	return md, nil
}

func idFromMetadata(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, "x-script-id"); len(v) > 0 {
		return v[0]
	}
	return ""
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
