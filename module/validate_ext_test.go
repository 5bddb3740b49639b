package module_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	pv "buf.build/go/protovalidate"
	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/module"
)

// A message that breaks five rules, with the violations that every client is told of.
const (
	wrongJSON       = `{"text":"much longer than sixteen","list":["a",""],"byNumber":{"7":{"value":"too long"}},"big":"2","otherName":"long","script":{"id":"wrong"}}`
	wrongViolations = `text string.max_len must be at most 16 characters
list[1] string.min_len must be at least 1 characters
byNumber[7].value string.max_len must be at most 5 characters
big big.odd must be odd
otherName string.max_len must be at most 3 characters
text string.max_len
list[1] string.min_len
by_number[7].value string.max_len
big big.odd
renamed_field string.max_len
`
	wrongMessage = "the request message is not valid: text: must be at most 16 characters (and 4 more)"
)

func wrongRequest() *testpb.EchoRequest {
	return &testpb.EchoRequest{
		Text: "much longer than sixteen", List: []string{"a", ""}, ByNumber: map[int32]*testpb.Nested{7: {Value: "too long"}},
		Big: 2, RenamedField: "long", Script: &testpb.Script{Id: "wrong"},
	}
}

// violations writes what a status says as lines: those of the google.rpc.BadRequest, then those of
// the buf.validate.Violations.
func violations(t *testing.T, st *spb.Status) string {
	t.Helper()
	var lines strings.Builder
	for _, d := range st.GetDetails() {
		m, err := d.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *errdetails.BadRequest:
			for _, v := range m.GetFieldViolations() {
				fmt.Fprintf(&lines, "%s %s %s\n", v.GetField(), v.GetReason(), v.GetDescription())
			}
		case *validate.Violations:
			for _, v := range m.GetViolations() {
				fmt.Fprintf(&lines, "%s %s\n", pv.FieldPathString(v.GetField()), v.GetRuleId())
			}
		}
	}
	return lines.String()
}

// statusOf finds the error in an answer of any protocol.
func statusOf(t *testing.T, contentType string, resp *http.Response, body []byte) *spb.Status {
	t.Helper()
	switch {
	case strings.HasPrefix(contentType, "application/grpc-web"):
		if strings.HasSuffix(contentType, "-text") {
			var text []byte
			// Each flush may end in padding.
			for part := range strings.SplitAfterSeq(string(body), "=") {
				raw, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(part, "="))
				text = append(text, raw...)
			}
			body = text
		}
		m := regexp.MustCompile(`grpc-status-details-bin: (\S+)\r\n`).FindSubmatch(body)
		if m == nil {
			t.Fatalf("no status in %q", body)
		}
		return statusBin(t, string(m[1]))
	case strings.HasPrefix(contentType, "application/grpc"):
		return statusBin(t, resp.Trailer.Get("Grpc-Status-Details-Bin")+resp.Header.Get("Grpc-Status-Details-Bin"))
	case strings.HasPrefix(contentType, "application/connect"):
		var end struct{ Error json.RawMessage }
		if err := json.Unmarshal(body[bytes.LastIndex(body, []byte(`{"error":`)):], &end); err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		return connectStatus(t, end.Error)
	case resp.Request.Header.Get("Connect-Protocol-Version") != "" || resp.Request.URL.Query().Has("connect"):
		return connectStatus(t, body)
	}
	lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
	last := lines[len(lines)-1]
	var line struct{ Error json.RawMessage }
	if json.Unmarshal(last, &line) == nil && line.Error != nil {
		last = line.Error
	}
	st := new(spb.Status)
	if err := protojson.Unmarshal(last, st); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return st
}

func statusBin(t *testing.T, text string) *spb.Status {
	t.Helper()
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	st := new(spb.Status)
	if err := proto.Unmarshal(raw, st); err != nil {
		t.Fatal(err)
	}
	return st
}

func connectStatus(t *testing.T, raw []byte) *spb.Status {
	t.Helper()
	var e struct {
		Code, Message string
		Details       []struct{ Type, Value string }
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	st := &spb.Status{Message: e.Message}
	if e.Code == "invalid_argument" {
		st.Code = 3
	}
	for _, d := range e.Details {
		value, err := base64.RawStdEncoding.DecodeString(d.Value)
		if err != nil {
			t.Fatal(err)
		}
		raw := `{"@type":"type.googleapis.com/` + d.Type + `"}`
		detail := new(spb.Status)
		if err := protojson.Unmarshal([]byte(`{"details":[`+raw+`]}`), detail); err != nil {
			t.Fatal(err)
		}
		detail.Details[0].Value = value
		st.Details = append(st.Details, detail.Details...)
	}
	return st
}

// wrongCall sends the wrong message in one protocol. If the requests stream, a good message comes
// first.
type wrongCall struct {
	name, path, contentType string
	header                  map[string]string
	streams                 bool
}

func wrongCalls() []wrongCall {
	const unary, server = testpb.Echo_Unary_FullMethodName, testpb.Echo_ServerStream_FullMethodName
	const client, bidi = testpb.Echo_ClientStream_FullMethodName, testpb.Echo_Bidi_FullMethodName
	version := map[string]string{"Connect-Protocol-Version": "1"}
	calls := []wrongCall{
		{name: "REST, route", path: "/v1/echo", contentType: "application/json"},
		{name: "REST, server stream", path: "/v1/stream", contentType: "application/json", header: map[string]string{"Accept": "text/event-stream"}},
		{name: "REST, client stream", path: "/v1/collect", contentType: "application/x-ndjson", streams: true},
		{name: "REST, bidi", path: "/v1/chat", contentType: "application/x-ndjson", streams: true, header: map[string]string{"Accept": "application/x-ndjson"}},
		{name: "plain JSON", path: unary, contentType: "application/json"},
		{name: "Connect JSON", path: unary, contentType: "application/json", header: version},
		{name: "Connect proto", path: unary, contentType: "application/proto", header: version},
	}
	for _, kind := range []struct{ name, contentType string }{
		{"Connect JSON", "application/connect+json"}, {"Connect proto", "application/connect+proto"},
		{"gRPC", "application/grpc"}, {"gRPC JSON", "application/grpc+json"},
		{"gRPC-Web", "application/grpc-web+proto"}, {"gRPC-Web JSON", "application/grpc-web+json"}, {"gRPC-Web text", "application/grpc-web-text"},
	} {
		if !strings.HasPrefix(kind.name, "Connect") {
			calls = append(calls, wrongCall{name: kind.name, path: unary, contentType: kind.contentType})
		}
		calls = append(calls,
			wrongCall{name: kind.name + ", server stream", path: server, contentType: kind.contentType},
			wrongCall{name: kind.name + ", client stream", path: client, contentType: kind.contentType, streams: true},
			wrongCall{name: kind.name + ", bidi", path: bidi, contentType: kind.contentType, streams: true},
		)
	}
	return calls
}

// body has the wrong message, after a good one if requests stream.
func (c *wrongCall) body(t *testing.T) string {
	t.Helper()
	messages := []string{wrongJSON}
	if !strings.HasSuffix(c.contentType, "json") {
		raw, err := proto.Marshal(wrongRequest())
		if err != nil {
			t.Fatal(err)
		}
		messages[0] = string(raw)
	}
	good := `{"text":"good"}`
	if !strings.HasSuffix(c.contentType, "json") {
		good = "\x0a\x04good"
	}
	if c.streams {
		messages = []string{good, messages[0]}
	}
	var body strings.Builder
	for _, m := range messages {
		if strings.HasPrefix(c.contentType, "application/grpc") || strings.HasPrefix(c.contentType, "application/connect") {
			m = "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(m)))) + m
		} else if c.streams {
			m += "\n"
		}
		body.WriteString(m)
	}
	if strings.HasSuffix(c.contentType, "-text") {
		return base64.StdEncoding.EncodeToString([]byte(body.String()))
	}
	return body.String()
}

// send makes the call.
func (c *wrongCall) send(t *testing.T, s *site) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), http.MethodPost, "http://"+s.addr+c.path, strings.NewReader(c.body(t)))
	if err != nil {
		t.Fatal(err)
	}
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// TestValidateInEveryProtocol sends one message that breaks several rules in all ways there are.
// Every client is told the same, and the service never sees the message. The rules come by server
// reflection, which keeps the options of services.
func TestValidateInEveryProtocol(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithRules())
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tvalidate on\n}")
	s.want(s.get("/v1/echo/fine"), http.StatusOK)
	for _, c := range wrongCalls() {
		t.Run(c.name, func(t *testing.T) {
			resp, body := c.send(t, s)
			st := statusOf(t, c.contentType, resp, body)
			want := wrongMessage
			if c.streams {
				want = "message 2: " + wrongMessage
			}
			if st.GetCode() != 3 || st.GetMessage() != want {
				t.Errorf("status %d %q, want 3 %q", st.GetCode(), st.GetMessage(), want)
			}
			if got := violations(t, st); got != wrongViolations {
				t.Errorf("violations:\n%swant:\n%s", got, wrongViolations)
			}
			if n := backend.Executions("wrong"); n != 0 {
				t.Errorf("the service has seen the message %d times", n)
			}
		})
	}
	eventually(t, "no call is left", func() bool { return backend.InFlight() == 0 })
}

// TestValidateOverWebSocket closes the socket with the code and the text of the error.
func TestValidateOverWebSocket(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithRules())
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tvalidate on\n}")
	const wrong = "INVALID_ARGUMENT: %sthe request message is not valid: text: must be at most 16 characters"
	for path, tt := range map[string]struct {
		messages []string
		number   string
	}{
		"/v1/chat":                              {[]string{`{"text":"good"}`, wrongJSON}, "message 2: "},
		"/v1/stream/1?text=longer+than+sixteen": {},
		"/v1/echo/longer-than-sixteen":          {},
	} {
		conn, _, err := websocket.Dial(bounded(t), "ws://"+s.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range tt.messages {
			if err := conn.Write(bounded(t), websocket.MessageText, []byte(message)); err != nil {
				t.Fatal(err)
			}
		}
		for err = nil; err == nil; {
			_, _, err = conn.Read(bounded(t))
		}
		if want := fmt.Sprintf(wrong, tt.number); websocket.CloseStatus(err) != 4003 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the socket ended with %v", path, err)
		}
		_ = conn.CloseNow()
	}
	eventually(t, "the call of the service is cancelled", func() bool { return backend.InFlight() == 0 })
}

// TestValidateModes sends wrong messages on, unless the option says on.
func TestValidateModes(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithRules())
	s := newSite(t)
	const of = `method="Unary",result="%s",service="gateway.test.v1.Echo",upstream="modes"`
	for _, tt := range []struct {
		option         string
		status         int
		valid, invalid float64
	}{
		{"", http.StatusOK, 0, 0},
		{"validate off", http.StatusOK, 0, 0},
		{"validate warn", http.StatusOK, 1, 1},
		{"validate on", http.StatusBadRequest, 1, 1},
	} {
		t.Run(tt.option, func(t *testing.T) {
			s.load("", "grpc_gateway {\n\tupstream modes {\n\t\tdiscover static "+backend.Addr()+"\n\t}\n\t"+tt.option+"\n}")
			valid, invalid := s.metric("validation_total{"+fmt.Sprintf(of, "valid")+"}"), s.metric("validation_total{"+fmt.Sprintf(of, "invalid")+"}")
			s.want(s.get("/v1/echo/fine"), http.StatusOK)
			s.want(s.do("POST", "/v1/echo", wrongJSON), tt.status)
			valid = s.metric("validation_total{"+fmt.Sprintf(of, "valid")+"}") - valid
			invalid = s.metric("validation_total{"+fmt.Sprintf(of, "invalid")+"}") - invalid
			if valid != tt.valid || invalid != tt.invalid {
				t.Errorf("counted %v valid and %v invalid messages", valid, invalid)
			}
			if tt.option == "validate warn" {
				s.logs(`"msg":"a request message is not valid; it was sent because validate is warn"`, `"method":"gateway.test.v1.Echo/Unary"`, "string.max_len")
			}
		})
	}
}

// logs fails unless a line of the log has all the texts.
func (s *site) logs(texts ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("a line of the log with %q", texts), func() bool {
		raw, err := os.ReadFile(s.logFile())
		if err != nil {
			return false
		}
		for _, line := range strings.Split(string(raw), "\n") {
			found := 0
			for _, text := range texts {
				if strings.Contains(line, text) {
					found++
				}
			}
			if found == len(texts) {
				return true
			}
		}
		return false
	})
}

// TestValidateNamesFieldsAsTheClientDoes obeys the option of JSON. Values of the URL are checked,
// too.
func TestValidateNamesFieldsAsTheClientDoes(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithRules())
	for option, wants := range map[string][]string{
		"":                                 {`"field":"text"`, `"field":"list[1]"`, `"field":"otherName"`},
		"json {\n\t\tuse_proto_names\n\t}": {`"field":"text"`, `"field":"list[1]"`, `"field":"renamed_field"`},
	} {
		t.Run(option, func(t *testing.T) {
			s := newSite(t)
			s.load("", "grpc_gateway "+backend.Addr()+" {\n\tvalidate on\n\t"+option+"\n}")
			got := s.want(s.get("/v1/echo/longer-than-sixteen?otherName=long&list=a&list="), http.StatusBadRequest)
			for _, want := range wants {
				if !strings.Contains(got.body, want) {
					t.Errorf("no %s in %s", want, got)
				}
			}
		})
	}
}

// TestValidateBadRules never costs a call: rules that do not compile are problems of the routes.
func TestValidateBadRules(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	set := filepath.Join(s.dir, "bad.binpb")
	described, err := testkit.Rules(func(fd *descriptorpb.FileDescriptorProto) {
		for _, m := range fd.GetMessageType() {
			for _, f := range m.GetField() {
				if m.GetName() == "EchoRequest" && f.GetName() == "text" {
					if err := testkit.SetRules(f, `cel { id: "x" expression: "this.nothing()" }`); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(described)
	if err != nil {
		t.Fatal(err)
	}
	write(t, set, string(raw))
	s.load("", "grpc_gateway {\n\tupstream bad {\n\t\tdiscover static "+backend.Addr()+"\n\t\tdescriptors protoset "+set+"\n\t}\n\tvalidate on\n}")
	s.want(s.do("POST", "/v1/echo", `{"text":"much longer than sixteen"}`), http.StatusOK)
	s.want(s.do("POST", "/v1/echo", `{"otherName":"long"}`), http.StatusBadRequest)
	var views []module.HandlerView
	s.ask("/grpc_gateway/routes", &views)
	if len(views) != 1 || len(views[0].Problems) != 1 || views[0].Problems[0].Upstream != "bad" ||
		!strings.HasPrefix(views[0].Problems[0].Reason, "validate: gateway.test.v1.EchoRequest.text: its rules do not compile and are not checked: ") {
		t.Errorf("problems: %+v", views)
	}
}
