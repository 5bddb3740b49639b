package clienttls

import (
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func unmarshal(input string) (*reverseproxy.TLSConfig, error) {
	d := caddyfile.NewTestDispenser(input)
	d.Next()
	return Unmarshal(d)
}

func TestUnmarshal(t *testing.T) {
	for input, want := range map[string]reverseproxy.TLSConfig{
		"tls":      {},
		"tls {\n}": {},
		"tls {\nserver_name a\ninsecure_skip_verify\n}":             {ServerName: "a", InsecureSkipVerify: true},
		"tls {\ntls_client_auth a.pem a.key\ncurves x25519 p256\n}": {ClientCertificateFile: "a.pem", ClientCertificateKeyFile: "a.key", Curves: []string{"x25519", "p256"}},
	} {
		got, err := unmarshal(input)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", input, got, err, want)
		}
	}
	for input, want := range map[string]string{
		"tls on":               "tls: expected no argument, or a block, at Testfile:1",
		"tls {\nverify off\n}": `unknown option "verify" in tls: expected one of client_auth, curves,`,
		"tls {\ntimeout 5s\n}": `unknown option "timeout" in tls`,
		"tls {\nserver_name a\ntls_server_name b\n}":     `option "tls_server_name" comes twice in tls: the first is in line 2, at Testfile:3`,
		"tls {\nrenegotiation maybe\n}":                  "Testfile:2",
		"tls {\nserver_name a {\nb\n}\ncurves x25519\n}": "Testfile:",
	} {
		if got, err := unmarshal(input); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v, want an error with %q", input, got, err, want)
		}
	}
}
