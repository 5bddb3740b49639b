package clienttls

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"
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

// The ID changes with whatever changes the connections, and with nothing else.
func TestID(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	file := filepath.Join(t.TempDir(), "ca.pem")
	id := func(content, serverName string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		config := &reverseproxy.TLSConfig{ServerName: serverName, CARaw: []byte(`{"provider":"file","pem_files":["` + file + `"]}`)}
		loaded, id, err := Load(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		if config.CARaw == nil || loaded.ServerName != "a" && loaded.ServerName != "b" {
			t.Errorf("config %+v, loaded for %q", config, loaded.ServerName)
		}
		return id
	}
	t.Setenv("TLS_NAME", "a")
	first := id(testCA, "a")
	if again := id(testCA, "a"); again != first {
		t.Error("the same settings have another ID")
	}
	if resolved := id(testCA, "{env.TLS_NAME}"); resolved != first {
		t.Error("a placeholder has another ID than its value")
	}
	if other := id(testCA, "b"); other == first {
		t.Error("another name has the same ID")
	}
	if other := id("# comment\n"+testCA, "a"); other == first {
		t.Error("another content of a file has the same ID")
	}
	if _, _, err := Load(ctx, &reverseproxy.TLSConfig{ServerName: "{env.UNSET_TLS_NAME}"}); err == nil {
		t.Error("a placeholder without a value is accepted")
	}
}

// testCA is a certificate that nothing was issued by.
const testCA = `-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUMAMebCXEWUrpk3QEOXW11X6G+LMwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTI5MDExMzI2WhgPMjEy
NjExMDUwMTEzMjZaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEGp4cArBGhVC/zH36eSOaDqwnq8YiZRD1mnqH6nwh
1DJns9v4fL5uABwCBgegeAFvMLPa0dl7Gps8OYrIuYDI3qNTMFEwHQYDVR0OBBYE
FD05TKGJDRmtMcCPqHtmGA31yxk0MB8GA1UdIwQYMBaAFD05TKGJDRmtMcCPqHtm
GA31yxk0MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAKAV616M
oGZZt5qYuxFKpdleXNeRy1E3ZyOBzJ72t8XQAiAOSsXN2F54a2Qg0CI2Cms1g9bH
Aaq1wiePxywu4BD3zw==
-----END CERTIFICATE-----
`
