// Command protovalidate is the testee of protovalidate's official conformance suite. It judges each
// message as the gateway does: by the checks that the guest module prepares for a method whose
// request the message is. run.sh runs the suite.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	pv "buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/checks"
	"github.com/caddy-grpc/gateway/checks/protovalidate"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// The fields of buf/validate/conformance/harness/harness.proto. Its Go code is internal to the
// suite.
const (
	requestFiles, requestCases                                          = 2, 3
	responseResults                                                     = 1
	resultSuccess, resultInvalid, resultNoCompile                       = 1, 2, 3
	resultRuntimeError, resultUnexpected                                = 4, 5
	entryKey, entryValue                                                = 1, 2
	serviceName, serviceFile                                            = "Testee", "gateway/conformance/testee.proto"
	servicePackage                                protoreflect.FullName = "gateway.conformance"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	raw, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	files, cases, err := parseRequest(raw)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	t, err := newTestee(files)
	if err != nil {
		return err
	}
	var out []byte
	for name, message := range cases {
		entry := protowire.AppendString(protowire.AppendTag(nil, entryKey, protowire.BytesType), name)
		entry = protowire.AppendBytes(protowire.AppendTag(entry, entryValue, protowire.BytesType), t.judge(message))
		out = protowire.AppendBytes(protowire.AppendTag(out, responseResults, protowire.BytesType), entry)
	}
	_, err = os.Stdout.Write(out)
	return err
}

func parseRequest(raw []byte) (*descriptorpb.FileDescriptorSet, map[string]*anypb.Any, error) {
	files, cases := new(descriptorpb.FileDescriptorSet), make(map[string]*anypb.Any)
	err := eachBytes(raw, func(num protowire.Number, value []byte) error {
		switch num {
		case requestFiles:
			return proto.Unmarshal(value, files)
		case requestCases:
			var name string
			message := new(anypb.Any)
			err := eachBytes(value, func(num protowire.Number, value []byte) error {
				if num == entryKey {
					name = string(value)
					return nil
				}
				return proto.Unmarshal(value, message)
			})
			cases[name] = message
			return err
		}
		return nil
	})
	return files, cases, err
}

// eachBytes calls do for each field that has bytes.
func eachBytes(raw []byte, do func(num protowire.Number, value []byte) error) error {
	for len(raw) > 0 {
		num, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(num, kind, raw[n:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(raw[n : n+size])
			if err := do(num, value); err != nil {
				return err
			}
		}
		raw = raw[n+size:]
	}
	return nil
}

// testee has a method for each message type of the suite.
type testee struct {
	service protoreflect.ServiceDescriptor
	methods map[string]protoreflect.Name // by the name of the message
	checks  checks.SchemaChecks
}

func newTestee(files *descriptorpb.FileDescriptorSet) (*testee, error) {
	t := &testee{methods: make(map[string]protoreflect.Name)}
	service := &descriptorpb.ServiceDescriptorProto{Name: proto.String(serviceName)}
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String(serviceFile), Package: proto.String(string(servicePackage)), Syntax: proto.String("proto3"),
		Service: []*descriptorpb.ServiceDescriptorProto{service},
	}
	var add func(prefix string, messages []*descriptorpb.DescriptorProto)
	add = func(prefix string, messages []*descriptorpb.DescriptorProto) {
		for _, m := range messages {
			if m.GetOptions().GetMapEntry() {
				continue
			}
			full := strings.TrimPrefix(prefix+"."+m.GetName(), ".")
			name := fmt.Sprintf("M%d", len(t.methods))
			t.methods[full] = protoreflect.Name(name)
			service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
				Name: proto.String(name), InputType: proto.String("." + full), OutputType: proto.String("." + full),
			})
			add(full, m.GetNestedType())
		}
	}
	for _, f := range files.GetFile() {
		file.Dependency = append(file.Dependency, f.GetName())
		add(f.GetPackage(), f.GetMessageType())
	}
	files.File = append(files.File, file)
	s, err := schema.New(files)
	if err != nil {
		return nil, err
	}
	d, err := s.Files().FindDescriptorByName(servicePackage.Append(serviceName))
	if err != nil {
		return nil, err
	}
	t.service = d.(protoreflect.ServiceDescriptor)
	t.checks = new(protovalidate.Checker).Schema(checks.Schema{Files: s.Files()})
	return t, nil
}

// judge returns a TestResult.
func (t *testee) judge(message *anypb.Any) []byte {
	text := func(num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), s)
	}
	_, full, _ := strings.Cut(message.GetTypeUrl(), "/")
	method := t.service.Methods().ByName(t.methods[full])
	if method == nil {
		return text(resultUnexpected, "no message type "+full)
	}
	check, problems := t.checks.Method(method)
	if len(problems) > 0 {
		return text(resultNoCompile, problems[0].Subject+": "+problems[0].Reason)
	}
	success := protowire.AppendVarint(protowire.AppendTag(nil, resultSuccess, protowire.VarintType), 1)
	if check == nil {
		return success
	}
	err := check.Message(context.Background(), message.GetValue())
	var refusal *checks.Refusal
	var runtime *pv.RuntimeError
	switch {
	case err == nil:
		return success
	case errors.As(err, &runtime):
		return text(resultRuntimeError, err.Error())
	case !errors.As(err, &refusal) || refusal.Detail == nil:
		return text(resultUnexpected, err.Error())
	}
	violations, err := proto.Marshal(refusal.Detail(len(refusal.Violations)))
	if err != nil {
		return text(resultUnexpected, err.Error())
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, resultInvalid, protowire.BytesType), violations)
}
