package clients

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// What the clients of connect-web see of each call, the same by every protocol and codec.
var connectWeb = map[string]string{
	"unary": `{"head":"of the answer","headBin":[0,254],"tail":"after it","text":"grüße","big":"9007199254740993",
		"ask":"of the page","askBin":"AAH6/w=="}`,
	"deadline":       `{"within":true}`,
	"error":          `{"code":"NotFound","message":"no such thing: 100% ☃","details":["text: the script says so"],"tail":"of the error"}`,
	"unknown method": `"Unimplemented"`,
	"stream":         `{"head":"of the answer","texts":["s 1","s 2","s 3"],"tail":"after it"}`,
	"empty stream":   `{"head":"of the answer","texts":[],"tail":"after it"}`,
	"stream that fails": `{"head":null,"texts":["s 1","s 2"],
		"error":{"code":"NotFound","message":"no such thing: 100% ☃","details":["text: the script says so"],"tail":"of the error"}}`,
	"message of a stream before its end": `"first"`,
}

// What the clients of grpc-web see, the same in binary and text.
var grpcWeb = map[string]string{
	"unary":    `{"head":"of the answer","tail":"after it","text":"grüße","big":"9007199254740993","ask":"of the page"}`,
	"deadline": `{"within":true}`,
	"error":    `{"code":"NOT_FOUND","message":"no such thing: 100% ☃","details":true,"tail":"of the error"}`,
	"stream":   `{"head":"of the answer","texts":["s 1","s 2","s 3"],"tail":"after it"}`,
	"stream that fails": `{"texts":["s 1","s 2"],"tail":"of the error",
		"error":{"code":"NOT_FOUND","message":"no such thing: 100% ☃","details":true,"tail":"of the error"}}`,
}

var browserCases = map[string]map[string]string{
	"connect-web, Connect, JSON":    connectWeb,
	"connect-web, Connect, binary":  connectWeb,
	"connect-web, Connect, GET":     {"unary": `{"title":"Emma","pages":"474"}`},
	"connect-web, gRPC-Web, binary": connectWeb,
	"connect-web, gRPC-Web, JSON":   connectWeb,
	"grpc-web, binary":              grpcWeb,
	"grpc-web, text":                grpcWeb,
	"grpc-web, text stream":         {"message before the end": `["first 1"]`},
	"refused": {
		"no cors: connect":                  `"Unknown"`,
		"no cors: connect get":              `"Unknown"`,
		"no cors: grpc-web":                 `"Unknown"`,
		"cors for another origin: connect":  `"Unknown"`,
		"cors for another origin: grpc-web": `"Unknown"`,

		"no cors: a POST without a content type":                 `"opaque"`,
		"cors for another origin: a POST without a content type": `"opaque"`,
		"no cors: a WebSocket":                                   `"failed"`,
		"cors for another origin: a WebSocket":                   `"failed"`,
	},
	"WebSocket": {
		"from a listed origin": `"hi"`,
		"with a subprotocol":   `"failed"`,
		"for gRPC-Web":         `"failed"`,
	},
}

// TestBrowser opens a page in Chromium that calls the gateway, which is of another origin, over
// HTTP/1.1 without TLS and over HTTP/2 with it.
func TestBrowser(t *testing.T) {
	page := kit.StartPage(t, "testdata/page.js")
	backend := testkit.StartBackend(t)
	secure := kit.FreeAddr(t)
	caddy := kit.StartCaddy(t, kit.Options{
		Global: "skip_install_trust\nauto_https disable_redirects",
		// A second site after the kit's own.
		Site: handlers(backend, page.URL) + "\n}\n\nhttps://" + secure + " {\ntls internal\n" + handlers(backend, page.URL),
	})
	caddy.WaitReady(t, 30*time.Second, backend.Addr())
	for proto, gateway := range map[string]string{"HTTP/1.1": "http://" + caddy.Listen, "HTTP/2.0": "https://" + secure} {
		t.Run(proto, func(t *testing.T) {
			got := page.Visit(t, map[string]string{"gateway": gateway, "noCORS": gateway + "/no-cors", "otherOrigin": gateway + "/other-origin"})
			for group, cases := range browserCases {
				for name, want := range cases {
					name = group + ": " + name
					t.Run(name, func(t *testing.T) {
						if got := got[name]; got == "" || got != kit.CompactJSON(t, want) {
							t.Errorf("the page saw\n%s, not\n%s", got, kit.CompactJSON(t, want))
						}
					})
					delete(got, name)
				}
			}
			if len(got) > 0 {
				t.Errorf("the page made calls that are not judged here: %v", slices.Sorted(maps.Keys(got)))
			}
			kit.Contains(t, "the access log", caddy.Log(), fmt.Sprintf(`"proto":%q,"method":"POST"`, proto))
		})
	}
	for n := 1; n <= 9; n++ {
		if id := fmt.Sprintf("refused-%d", n); backend.Executions(id) != 0 {
			t.Errorf("call %s came to the backend", id)
		}
	}
	kit.Eventually(t, 20*time.Second, "calls that the page gave up have ended at the backend", func() error {
		if n := backend.InFlight(); n != 0 {
			return fmt.Errorf("%d calls in flight", n)
		}
		return nil
	})
}

// handlers are the gateway that the page may call, and beside it those that it may not.
func handlers(backend *testkit.Backend, page string) string {
	return "log\nhandle_path /no-cors/* {\n" + handler(backend, "") + "\n}\n" +
		"handle_path /other-origin/* {\n" + handler(backend, "cors https://app.example.com") + "\n}\n" +
		"handle {\n" + handler(backend, "cors "+page) + "\n}"
}
