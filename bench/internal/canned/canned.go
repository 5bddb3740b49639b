// Package canned has the requests and answers of the comparison: what the backend answers with,
// what the load generator sends and what it accepts as right.
package canned

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/bench/codec/benchpb"
	"github.com/caddy-grpc/gateway/bench/servicepb"
)

// Work is one kind of request with its answer.
type Work struct {
	Name string
	RPC  string // /package.Service/Method

	// As gRPC. A client stream has several requests, in place of one.
	Request  []byte
	Requests [][]byte
	Answers  [][]byte
	Stream   bool

	// As HTTP; a work of native gRPC has none.
	Method, Path, Query string
	ContentType, Accept string
	Body                []byte
	// What the gateway answers with, for floors to write. A gateway may write the same in another
	// way; Check judges.
	AnswerType string
	Answer     []byte

	want []proto.Message
}

// StreamLength is how many messages a stream has.
const StreamLength = 1000

// Items is the length of the list, which makes some 64 KiB of JSON.
const Items = 200

// The kinds of work, in the order of the tables.
const (
	Get          = "get"
	Post         = "post"
	List         = "list"
	Upload       = "upload"
	Stream       = "stream"
	GRPC         = "grpc"
	ClientStream = "client-stream"
	Connect      = "connect"
	ConnectJSON  = "connect-json"
)

// Works returns all kinds of work. Nobody may change them.
var Works = sync.OnceValue(makeWorks)

func makeWorks() []*Work {
	const rpc = "/bench.Catalog/"
	const jsonType, protoType, linesType = "application/json", "application/proto", "application/x-ndjson"
	get := &servicepb.GetRequest{Name: "1984"}
	book := benchpb.NewSmall()
	list := benchpb.NewList(Items)
	recorded := &servicepb.ImportResponse{Imported: StreamLength, Operation: "operations/record-events/17"}
	return []*Work{
		rest(Work{Name: Get, RPC: rpc + "GetBook", Method: http.MethodGet, Path: "/v1/books/1984"}, get, book),
		rest(Work{Name: Post, RPC: rpc + "CreateBook", Method: http.MethodPost, Path: "/v1/books"}, book, book),
		rest(Work{Name: List, RPC: rpc + "ListItems", Method: http.MethodGet, Path: "/v1/items", Query: "pageSize=200"},
			&servicepb.ListRequest{PageSize: Items}, list),
		rest(Work{Name: Upload, RPC: rpc + "ImportItems", Method: http.MethodPost, Path: "/v1/items"}, list,
			&servicepb.ImportResponse{Imported: Items, Operation: "operations/import-items/8291"}),
		rest(Work{Name: Stream, RPC: rpc + "WatchEvents", Stream: true, Method: http.MethodGet, Path: "/v1/events",
			Query: fmt.Sprintf("count=%d", StreamLength), Accept: linesType, AnswerType: linesType},
			&servicepb.WatchRequest{Count: StreamLength}, events()...),
		{Name: GRPC, RPC: rpc + "GetBook", Request: wire(get), Answers: [][]byte{wire(book)}, want: []proto.Message{book}},
		{Name: ClientStream, RPC: rpc + "RecordEvents", Requests: wires(events()), Answers: [][]byte{wire(recorded)}, want: []proto.Message{recorded}},
		{Name: Connect, RPC: rpc + "GetBook", Request: wire(get), Answers: [][]byte{wire(book)}, Method: http.MethodPost, Path: rpc + "GetBook",
			ContentType: protoType, Body: wire(get), AnswerType: protoType, Answer: wire(book), want: []proto.Message{book}},
		{Name: ConnectJSON, RPC: rpc + "GetBook", Request: wire(get), Answers: [][]byte{wire(book)}, Method: http.MethodPost, Path: rpc + "GetBook",
			ContentType: jsonType, Body: text(get), AnswerType: jsonType, Answer: text(book), want: []proto.Message{book}},
	}
}

// rest completes a work of REST.
func rest(w Work, request proto.Message, answers ...proto.Message) *Work {
	w.Request, w.want = wire(request), answers
	if w.Method == http.MethodPost {
		w.ContentType, w.Body = "application/json", text(request)
	}
	if w.AnswerType == "" {
		w.AnswerType = "application/json"
	}
	for _, a := range answers {
		w.Answers = append(w.Answers, wire(a))
		w.Answer = append(w.Answer, text(a)...)
		if w.Stream {
			w.Answer = append(w.Answer, '\n')
		}
	}
	return &w
}

func events() []proto.Message {
	all := make([]proto.Message, StreamLength)
	for i := range all {
		all[i] = &servicepb.Event{Name: "sensors/4711", Sequence: int64(i) + 1, Value: 20 + float64(i%100)/10, State: benchpb.State_STATE_ACTIVE}
	}
	return all
}

// Find returns the work of a name.
func Find(name string) (*Work, error) {
	var names []string
	for _, w := range Works() {
		if w.Name == name {
			return w, nil
		}
		names = append(names, w.Name)
	}
	return nil, fmt.Errorf("no work %q, but %s", name, strings.Join(names, ", "))
}

// Filler is text of a length that has no meaning to anyone, neither to JSON nor to Caddy's
// placeholders.
func Filler(n int) string { return strings.Repeat("x", n) }

// Lines are the messages of a stream as lines of JSON.
func (w *Work) Lines() [][]byte {
	return bytes.SplitAfter(bytes.TrimSuffix(w.Answer, []byte("\n")), []byte("\n"))
}

// HTTPRequest is the work as an HTTP/1.1 request.
func (w *Work) HTTPRequest() []byte {
	var b bytes.Buffer
	target := w.Path
	if w.Query != "" {
		target += "?" + w.Query
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: bench.local\r\nUser-Agent: bench/1\r\n", w.Method, target)
	if w.Accept != "" {
		fmt.Fprintf(&b, "Accept: %s\r\n", w.Accept)
	}
	if w.Path == w.RPC {
		b.WriteString("Connect-Protocol-Version: 1\r\n")
	}
	if w.Body != nil {
		fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Length: %d\r\n", w.ContentType, len(w.Body))
	}
	b.WriteString("\r\n")
	b.Write(w.Body)
	return b.Bytes()
}

// Check says whether a body is a right answer. Of JSON the value counts: spaces, the order of
// fields and defaults that are written out are each gateway's own, and so is grpc-gateway's
// {"result":…} around the messages of a stream.
func (w *Work) Check(body []byte) error {
	if w.AnswerType == "application/proto" || w.Method == "" {
		got := w.want[0].ProtoReflect().New().Interface()
		if err := proto.Unmarshal(body, got); err != nil {
			return err
		}
		return same(got, w.want[0])
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	for i, want := range w.want {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if wrapped := new(struct{ Result json.RawMessage }); w.Stream && json.Unmarshal(value, wrapped) == nil && wrapped.Result != nil {
			value = wrapped.Result
		}
		got := want.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(value, got); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if err := same(got, want); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than the answer")
	}
	return nil
}

func same(got, want proto.Message) error {
	if !proto.Equal(got, want) {
		return fmt.Errorf("not the answer but %.200s", text(got))
	}
	return nil
}

// Protoset is the descriptor set of the service, with all it imports.
func Protoset() ([]byte, error) {
	set := new(descriptorpb.FileDescriptorSet)
	seen := make(map[string]bool)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(servicepb.File_service_proto)
	return proto.Marshal(set)
}

// wire and text encode messages of this package, which cannot fail.

func wire(m proto.Message) []byte {
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return b
}

func wires(messages []proto.Message) [][]byte {
	all := make([][]byte, len(messages))
	for i, m := range messages {
		all[i] = wire(m)
	}
	return all
}

func text(m proto.Message) []byte {
	spaced, _ := protojson.Marshal(m)
	var b bytes.Buffer
	_ = json.Compact(&b, spaced)
	return b.Bytes()
}
