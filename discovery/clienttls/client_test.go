package clienttls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// dial makes a handshake by the client's gRPC credentials. It returns the serial number of the
// certificate that the server was shown.
func dial(t *testing.T, c *Client, server *tls.Config, name string) (string, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	shown := make(chan string, 1)
	go func() {
		defer close(shown)
		defer theirs.Close()
		conn := tls.Server(theirs, server)
		if err := conn.Handshake(); err == nil {
			shown <- conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
			_ = conn.Close()
		}
	}()
	// Clone is what gRPC does before it uses them.
	conn, _, err := c.Credentials().Clone().ClientHandshake(t.Context(), name, ours)
	if err != nil {
		ours.Close()
		<-shown
		return "", err
	}
	// With TLS 1.3 the server speaks last.
	_, _ = conn.Read(make([]byte, 1))
	return <-shown, nil
}

// The authority and all certificates are replaced, with a time in which both authorities are
// trusted.
func TestRenewedAuthority(t *testing.T) {
	f := newFiles(t)
	older, newer := newAuthority(t), newAuthority(t)
	first, second := older.issue(t), newer.issue(t)
	before, after := older.server(t), newer.server(t)
	f.write(f.ca, older.pem())
	f.writePair(first)
	c, _ := loaded(t, f.config())
	want := func(server *tls.Config, serial, failure string) {
		t.Helper()
		got, err := dial(t, c, server, "server.test:443")
		if got != serial || (failure == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), failure) {
			t.Errorf("presented %q (%v), want %q and the error %q", got, err, serial, failure)
		}
	}
	want(before, first.serial, "")
	want(after, "", "certificate signed by unknown authority")
	f.write(f.ca, append(older.pem(), newer.pem()...))
	want(before, first.serial, "")
	f.writePair(second)
	want(after, second.serial, "")
	f.write(f.ca, newer.pem())
	want(after, second.serial, "")
	want(before, "", "certificate signed by unknown authority")
	newest := newAuthority(t)
	last := newest.issue(t)
	f.write(f.ca, newest.pem())
	f.writePair(last)
	want(newest.server(t), last.serial, "") // Both have changed since the last handshake.
	after = newest.server(t)
	if _, err := dial(t, c, after, "other.test:443"); err == nil {
		t.Error("another name than the certificate's is accepted")
	}
}

func TestConcurrentHandshakes(t *testing.T) {
	f, ca := newFiles(t), newAuthority(t)
	f.write(f.ca, ca.pem())
	f.writePair(ca.issue(t))
	c, _ := loaded(t, f.config())
	server := ca.server(t)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 10 {
				if got, err := dial(t, c, server, "server.test"); got == "" || err != nil {
					t.Errorf("presented %q, %v", got, err)
				}
			}
		})
	}
	for range 10 {
		f.writePair(ca.issue(t))
	}
	work.Wait()
}

func TestCredentials(t *testing.T) {
	f, ca := newFiles(t), newAuthority(t)
	f.write(f.ca, ca.pem())
	f.writePair(ca.issue(t))
	c, _ := loaded(t, f.config())
	creds := c.Credentials()
	//nolint:staticcheck // The name is deprecated for setting the authority of a whole channel.
	if info := creds.Info(); info.ServerName != "server.test" || info.SecurityProtocol != "tls" {
		t.Errorf("info is %+v", info)
	}
	if _, _, err := creds.ServerHandshake(nil); err == nil {
		t.Error("it serves")
	}
}

// TestTransport renews while a request runs. That request goes on, and the next one presents the
// renewed certificate.
func TestTransport(t *testing.T) {
	f, ca := newFiles(t), newAuthority(t)
	first, second := ca.issue(t), ca.issue(t)
	f.write(f.ca, ca.pem())
	f.writePair(first)
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Serial", r.TLS.PeerCertificates[0].SerialNumber.String())
		w.Header().Set("Protocol", r.Proto)
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-release
		}
	}))
	server.TLS = ca.server(t)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c, _ := loaded(t, f.config())
	client := &http.Client{Transport: c.Transport(&http.Transport{ForceAttemptHTTP2: true})}
	defer client.CloseIdleConnections()
	get := func(path, serial string) *http.Response {
		t.Helper()
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header; got.Get("Serial") != serial || got.Get("Protocol") != "HTTP/2.0" {
			t.Errorf("the server saw %v, want the certificate %s", got, serial)
		}
		return resp
	}
	get("/", first.serial).Body.Close()
	slow := get("/slow", first.serial)
	f.writePair(second)
	get("/", second.serial).Body.Close()
	close(release)
	if _, err := slow.Body.Read(make([]byte, 1)); err == nil || err.Error() != "EOF" {
		t.Errorf("the request that ran ended with %v", err)
	}
	slow.Body.Close()
	get("/", second.serial).Body.Close()
}

// otherCA stands for the CA modules that cannot be followed. It trusts the certificates in a file.
type otherCA struct {
	PEMFiles []string `json:"pem_files"`

	certs []*x509.Certificate
}

func (*otherCA) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.ca_pool.source.test", New: func() caddy.Module { return &otherCA{certs: []*x509.Certificate{}} }}
}

func (o *otherCA) CertPool() *x509.CertPool { return x509.NewCertPool() }

func (o *otherCA) Certificates() []*x509.Certificate { return o.certs }

func init() { caddy.RegisterModule(new(otherCA)) }

// TestID says which settings make another client, and which files are followed instead.
func TestID(t *testing.T) {
	f, ca, other := newFiles(t), newAuthority(t), newAuthority(t)
	f.writePair(ca.issue(t))
	inline := `{"provider":"inline","trusted_ca_certs":["` + base64.StdEncoding.EncodeToString(other.cert.Raw) + `"]}`
	combined := func(part string) json.RawMessage {
		return json.RawMessage(`{"provider":"combined","sources":[` + inline + `,{"provider":"` + part + `","pem_files":["` + f.ca + `"]}]}`)
	}
	pools := make(map[string]*x509.CertPool)
	ids := make(map[string]string)
	for name, c := range map[string]struct {
		config   reverseproxy.TLSConfig
		followed bool
	}{
		"file":         {reverseproxy.TLSConfig{CARaw: fileCA(f.ca)}, true},
		"another name": {reverseproxy.TLSConfig{CARaw: fileCA(f.ca), ServerName: "a"}, true},
		"combined":     {reverseproxy.TLSConfig{CARaw: combined("file")}, true},
		//nolint:staticcheck // It works as long as Caddy has it.
		"deprecated":          {reverseproxy.TLSConfig{RootCAPEMFiles: []string{f.ca}, RootCAPool: []string{base64.StdEncoding.EncodeToString(other.cert.Raw)}}, true},
		"combined with other": {reverseproxy.TLSConfig{CARaw: combined("test")}, false},
		"other":               {reverseproxy.TLSConfig{CARaw: json.RawMessage(`{"provider":"test","pem_files":["` + f.ca + `"]}`)}, false},
	} {
		given, _ := json.Marshal(c.config)
		f.write(f.ca, ca.pem())
		client, _ := loaded(t, &c.config)
		pools[name] = client.Config().RootCAs
		f.write(f.ca, newAuthority(t).pem())
		if client.Config().RootCAs.Equal(pools[name]) == c.followed {
			t.Errorf("%s: followed is %v, want %v", name, !c.followed, c.followed)
		}
		again, _ := loaded(t, &c.config)
		if (again.ID() == client.ID()) != c.followed {
			t.Errorf("%s: another content makes the ID %q of %q", name, again.ID(), client.ID())
		}
		if same, ok := ids[client.ID()]; ok {
			t.Errorf("%s and %s have the same ID", name, same)
		}
		ids[client.ID()] = name
		if after, _ := json.Marshal(c.config); string(after) != string(given) {
			t.Errorf("%s: the config became %s", name, after)
		}
	}
	if !pools["combined"].Equal(pools["deprecated"]) {
		t.Error("the deprecated lists do not trust the same as combined")
	}
}

func TestServerName(t *testing.T) {
	t.Setenv("TLS_NAME", "a")
	plain, _ := loaded(t, &reverseproxy.TLSConfig{ServerName: "a"})
	resolved, _ := loaded(t, &reverseproxy.TLSConfig{ServerName: "{env.TLS_NAME}"})
	if plain.ID() != resolved.ID() || resolved.Config().ServerName != "a" {
		t.Error("a placeholder is not the same as its value")
	}
	if none, _ := loaded(t, new(reverseproxy.TLSConfig)); none.ID() == plain.ID() || none.Config().RootCAs != nil {
		t.Error("the default is not the system's trust")
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	f, ca := newFiles(t), newAuthority(t)
	f.write(f.ca, ca.pem()[:99])
	f.writePair(ca.issue(t))
	cut := f.config()
	mismatch := f.config()
	mismatch.CARaw, mismatch.ClientCertificateFile = nil, f.dir+"/other.pem"
	f.write(mismatch.ClientCertificateFile, ca.issue(t).cert)
	for want, config := range map[string]*reverseproxy.TLSConfig{
		"server_name":                {ServerName: "{env.UNSET_TLS_NAME}"},
		"found 0 complete of 1":      cut,
		"private key does not match": mismatch,
	} {
		if _, err := Load(ctx, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
