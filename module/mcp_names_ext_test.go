//go:build !nomcp

package module_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// toolNameField is the number of the option (mcp.v1.tool_name) in the file that these tests import.
const toolNameField = 58901

// toolOptions is the file that has the option.
func toolOptions() *descriptorpb.FileDescriptorProto {
	return &descriptorpb.FileDescriptorProto{
		Name: proto.String("mcp/v1/options.proto"), Package: proto.String("mcp.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/descriptor.proto"},
		Extension: []*descriptorpb.FieldDescriptorProto{{
			Name: proto.String("tool_name"), Number: proto.Int32(toolNameField), Extendee: proto.String(".google.protobuf.MethodOptions"),
			Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}},
	}
}

// protosetWith is protoset with further files, which come before that of the testkit.
func protosetWith(t *testing.T, path string, edit func(*descriptorpb.FileDescriptorProto), more ...*descriptorpb.FileDescriptorProto) {
	t.Helper()
	protoset(t, path, edit)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(raw, set); err != nil {
		t.Fatal(err)
	}
	last := len(set.File) - 1
	set.File = slices.Insert(set.File, last, more...)
	if raw, err = proto.Marshal(set); err != nil {
		t.Fatal(err)
	}
	write(t, path, string(raw))
}

// eachMethod calls fn with the options of each method.
func eachMethod(fd *descriptorpb.FileDescriptorProto, fn func(name string, options *descriptorpb.MethodOptions)) {
	for _, service := range fd.GetService() {
		for _, m := range service.GetMethod() {
			if m.Options == nil {
				m.Options = new(descriptorpb.MethodOptions)
			}
			fn(service.GetName()+"/"+m.GetName(), m.Options)
		}
	}
}

// TestMCPToolName gives tools the names that authors of methods have chosen.
func TestMCPToolName(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	set := filepath.Join(s.dir, "api.binpb")
	wanted := map[string]string{
		"Echo/Unary":         "say_it_again",
		"Library/GetBook":    "1st book", // No valid name.
		"Library/CreateBook": "twice",
		"Library/ListBooks":  "twice",       // CreateBook has it.
		"Library/UpdateBook": "call_method", // The search has it.
		"Library/DeleteBook": "mine",        // The config has it.
	}
	protosetWith(t, set, func(fd *descriptorpb.FileDescriptorProto) {
		fd.Dependency = append(fd.Dependency, "mcp/v1/options.proto")
		eachMethod(fd, func(name string, options *descriptorpb.MethodOptions) {
			if want := wanted[name]; want != "" {
				unknown := protowire.AppendTag(options.ProtoReflect().GetUnknown(), toolNameField, protowire.BytesType)
				options.ProtoReflect().SetUnknown(protowire.AppendString(unknown, want))
			}
		})
	}, toolOptions())
	s.load("", "grpc_gateway {\n\tupstream live {\n\t\tdiscover static "+backend.Addr()+"\n\t\tdescriptors protoset "+set+
		"\n\t}\n\tmcp /mcp {\n\t\ttools gateway.test.v1.*\n\t\ttool gateway.test.v1.Echo/ServerStream as mine\n\t}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	a := s.agent("")
	const want = "Echo_Download Echo_Upload Library_DeleteBook Library_GetBook Library_ListBooks Library_UpdateBook mine say_it_again twice"
	if got := a.names(); got != want {
		t.Errorf("the tools are %s, want %s", got, want)
	}
	if got := a.call("say_it_again", `{"text":"x"}`); got.structured["text"] != "x" {
		t.Errorf("got %+v", got)
	}
}

// TestMCPWraps has messages that are no objects in JSON as the member `value`.
func TestMCPWraps(t *testing.T) {
	backend := testkit.StartNamed(t, "names.v1.Names", "an answer", "GET /v1/names/{value}")
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmcp /mcp\n}")
	s.want(s.get("/v1/names/x"), http.StatusOK)
	a := s.agent("")
	tool := a.tools()["Names_Get"]
	if tool == nil {
		t.Fatalf("the tools are %s", a.names())
	}
	for name, schema := range map[string]any{"input": tool.InputSchema, "output": tool.OutputSchema} {
		if got := fmt.Sprint(schema); !strings.Contains(got, "properties:map[value:map[type:string]]") || !strings.Contains(got, "required:[value]") {
			t.Errorf("the schema of the %s is %s", name, got)
		}
	}
	if got := a.call("Names_Get", `{"value":"x"}`); got.structured["value"] != "an answer" || got.text != `{"value":"an answer"}` {
		t.Errorf("got %+v", got)
	}
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Names_Get","arguments":`
	for _, arguments := range []string{`{}`, `{"value":"x","more":1}`, `{"other":"x"}`, `"x"`} {
		got := s.post("/mcp", "application/json", call+arguments+"}}", "Accept", "application/json, text/event-stream")
		if !strings.Contains(got.body, `"code":-32602`) || !strings.Contains(got.body, `expected an object with the member \"value\" alone`) {
			t.Errorf("%s: %s", arguments, got.body)
		}
	}
	if got := a.call("Names_Get", `{"value":5}`); !strings.HasPrefix(got.status(), "3 request message: ") {
		t.Errorf("a number: %s", got.status())
	}
}

// TestMCPNamesStay keeps the names of tools while methods with the same name come, and through a
// reload of the config.
func TestMCPNamesStay(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	set := filepath.Join(s.dir, "api.binpb")
	services := func(names ...string) func(*descriptorpb.FileDescriptorProto) {
		return func(fd *descriptorpb.FileDescriptorProto) {
			fd.Service = slices.DeleteFunc(fd.Service, func(d *descriptorpb.ServiceDescriptorProto) bool { return !slices.Contains(names, d.GetName()) })
		}
	}
	// Another service of the name Library, whose package comes first in the alphabet.
	second := &descriptorpb.FileDescriptorProto{
		Name: proto.String("a.proto"), Package: proto.String("a.v1"), Syntax: proto.String("proto3"), Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Library"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("GetBook"), InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()},
		}}}},
	}
	load := func(more string) {
		t.Helper()
		s.client.CloseIdleConnections() // Those of the config before end at some time.
		s.load("", "grpc_gateway {\n\tupstream live {\n\t\tdiscover static "+backend.Addr()+"\n\t\tdescriptors protoset "+set+"\n\t}\n\tmcp /mcp\n\t"+more+"\n}")
	}
	protosetWith(t, set, services("Library"))
	load("")
	const first = "Library_GetBook Library_ListBooks"
	if got := s.agent("").names(); got != first {
		t.Fatalf("the tools are %s", got)
	}
	protosetWith(t, set, services("Library"), second)
	const both = first + " a_v1_Library_GetBook"
	eventually(t, "the second service is there", func() bool { return s.agent("").names() == both })
	if tool := s.agent("").tools()["Library_GetBook"]; tool.Description != "Calls gateway.test.v1.Library/GetBook." {
		t.Errorf("another method has the name: %s", tool.Description)
	}
	load("timeout 3s")
	if got := s.agent("").names(); got != both {
		t.Errorf("after a reload, the tools are %s, want %s", got, both)
	}
	protosetWith(t, set, services(), second)
	eventually(t, "the first service has gone", func() bool { return s.agent("").names() == "a_v1_Library_GetBook" })
	protosetWith(t, set, services("Library"), second)
	eventually(t, "it has its names again", func() bool { return s.agent("").names() == both })
}

// TestMCPSearchesAmongMany lists 40 tools, and offers a search for 41.
func TestMCPSearchesAmongMany(t *testing.T) {
	for _, c := range []struct {
		methods int
		option  string
		tools   int
	}{
		{40, "", 40},
		{40, "search auto", 40},
		{40, "search on", 3},
		{41, "", 3},
		{41, "search auto", 3},
		{41, "search off", 41},
	} {
		t.Run(fmt.Sprint(c.methods, " ", c.option), func(t *testing.T) {
			s := newSite(t)
			set := filepath.Join(s.dir, "large.binpb")
			raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{manyMethods(c.methods)}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, set, string(raw))
			s.load("", "grpc_gateway {\n\tupstream large {\n\t\tdiscover static 127.0.0.1:1\n\t\tdescriptors protoset "+set+"\n\t}\n\tmcp /mcp {\n\t\t"+c.option+"\n\t}\n}")
			if got := len(s.agent("").tools()); got != c.tools {
				t.Errorf("%d tools, want %d", got, c.tools)
			}
		})
	}
}
