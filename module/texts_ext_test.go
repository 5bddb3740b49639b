package module_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// forged is what whoever writes to a registry, or runs a service, may send: a line that looks like
// the gateway's own, sequences that change a terminal, HTML, and marks that turn the writing.
const forged = "x\n{\"level\":\"error\",\"msg\":\"forged\"}\r\x1b[2J\x1b]0;title\a<img src=x onerror=alert(1)>\u202egpj\u009b31m\xff\u2028end"

// TestTextsOfOthers lets a registry and a service send such texts wherever they can, and reads
// every place where an operator may see them.
func TestTextsOfOthers(t *testing.T) {
	backend := testkit.StartBackend(t)
	source := testkit.NewSource("manual:texts")
	manualStates["texts"] = source
	state := discovery.State{
		Synced: true,
		Endpoints: []discovery.Endpoint{
			{ID: "1" + forged, Addr: backend.Addr(), Metadata: map[string]string{forged: forged}},
			{ID: "2" + forged, Addr: "no address " + forged},
		},
		Skipped: []discovery.Skipped{{ID: "3" + forged, Reason: forged}},
	}
	source.SetState(state)
	f := newFleet(t)
	f.add("svc"+forged, "127.0.0.1:1")
	s := newSite(t)
	global := strings.TrimSuffix(f.global("limit 5"), "}") + "upstream texts {\n discover manual texts\n }\n }"
	s.load(subscription("texts")+"\n"+global, "handle /gateway/* {\n uri strip_prefix /gateway\n grpc_gateway_status\n}\nhandle /fleet/* {\n"+siteOfFleet+"\n}\nhandle {\n grpc_gateway texts\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if got := s.do("POST", "/v1/echo", `{"script":{"failCode":14,"failMessage":"x\n\u001b[2J<img src=x>\u202egpj"}}`); got.status != http.StatusServiceUnavailable {
		t.Fatalf("%s", got)
	}
	state.Err = errors.New("registry: " + forged)
	source.SetState(state)
	f.source.SetError(errors.New("catalog: " + forged))
	eventually(t, "the log tells of the registry", func() bool { return len(s.linesWith("registry: x")) > 0 })

	surfaces := map[string]string{"log": read(t, s.logFile()), "events": strings.Join(noted("texts"), "\n"), "metrics": s.metrics()}
	for _, view := range []string{"upstreams", "upstreams/texts", "routes", "catalog", "overview", "overview?upstream=texts"} {
		surfaces["GET /grpc_gateway/"+view] = s.want(s.admin0("GET", "/grpc_gateway/"+view), http.StatusOK).body
	}
	for _, command := range []string{"upstreams", "routes", "catalog"} {
		for _, args := range [][]string{{}, {"--json"}} {
			out, stderr, err := run(t, "", append([]string{command, "--address", s.admin}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			surfaces["caddy grpc-gateway "+command+" "+strings.Join(args, " ")] = out + stderr
		}
	}
	for _, args := range [][]string{{"upstreams", "nobody"}, {"routes", "no.Body"}, {"catalog", "nobody"}} {
		_, _, err := run(t, "", append(args, "--address", s.admin)...)
		if err == nil {
			t.Fatalf("%v has not failed", args)
		}
		surfaces["caddy grpc-gateway "+strings.Join(args, " ")] = err.Error()
	}
	_, _, err := run(t, "", "call", "--address", s.addr, "gateway.test.v1.Echo/Unary", `{"script":{"failCode":5,"failMessage":"x\n\u001b[2J"}}`)
	if err == nil {
		t.Fatal("the call has not failed")
	}
	surfaces["caddy grpc-gateway call"] = err.Error()
	seen := 0
	for name, text := range surfaces {
		seen += strings.Count(text, "gpj")
		for line := range strings.Lines(text) {
			line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " ")
			if discovery.Printable(line) != line {
				t.Errorf("%s is not printable: %q", name, line)
			}
			if strings.HasPrefix(line, `{"level":"error","msg":"forged"}`) {
				t.Errorf("%s has a forged line: %s", name, line)
			}
		}
	}
	if seen < 20 {
		t.Errorf("the texts were seen %d times, so this shows little", seen)
	}
}
