// Command connect is the launcher that the Connect conformance suite starts for each combination of
// HTTP version, protocol and TLS: it runs one of the suite's own servers as the backend and a real
// Caddy with the gateway in front, and says where.
//
// The backend is the suite's server on grpc-go. It lacks the method that Connect's GET is tested
// with, so for the Connect protocol the backend is the suite's reference server. Both are called by
// gRPC.
//
// The suite's messages are internal to its module; the few fields that matter are read and written
// by number.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-grpc/gateway/internal/freeport"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "launcher:", err)
		os.Exit(1)
	}
}

func run() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	dir, err := os.MkdirTemp("", "connect-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	message, err := readMessage(os.Stdin)
	if err != nil {
		return fmt.Errorf("read the suite's request: %w", err)
	}
	req, err := parseRequest(message)
	if err != nil {
		return fmt.Errorf("read the suite's request: %w", err)
	}
	backend, host, port, err := startBackend(req.protocol)
	if err != nil {
		return err
	}
	defer end(backend)
	gateway, listen, err := startGateway(dir, req, net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		return err
	}
	defer end(gateway)
	if err := writeMessage(os.Stdout, response(listen, req.cert)); err != nil {
		return err
	}
	<-stop
	return nil
}

// request is what a ServerCompatRequest says.
type request struct {
	protocol     uint64
	tls          bool
	clientCert   []byte
	receiveLimit uint64
	cert, key    []byte
}

func parseRequest(b []byte) (request, error) {
	var req request
	err := eachField(b, func(number protowire.Number, value uint64, bytes []byte) error {
		switch number {
		case 1:
			req.protocol = value
		case 4:
			req.tls = value != 0
		case 5:
			req.clientCert = bytes
		case 6:
			req.receiveLimit = value
		case 7:
			return eachField(bytes, func(number protowire.Number, _ uint64, bytes []byte) error {
				switch number {
				case 1:
					req.cert = bytes
				case 2:
					req.key = bytes
				}
				return nil
			})
		}
		return nil
	})
	return req, err
}

// eachField calls fn with each field of a message that has only varints and length-delimited
// fields.
func eachField(b []byte, fn func(protowire.Number, uint64, []byte) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var value uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			return fmt.Errorf("field %d has wire type %d", number, kind)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := fn(number, value, bytes); err != nil {
			return err
		}
	}
	return nil
}

// response is a ServerCompatResponse: host, port, certificate.
func response(listen string, cert []byte) []byte {
	host, portText, _ := net.SplitHostPort(listen)
	var port uint64
	_, _ = fmt.Sscan(portText, &port)
	b := protowire.AppendTag(nil, 1, protowire.BytesType)
	b = protowire.AppendString(b, host)
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, port)
	if len(cert) > 0 {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendBytes(b, cert)
	}
	return b
}

func readMessage(r io.Reader) ([]byte, error) {
	var size uint32
	if err := binary.Read(r, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeMessage(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// protocolConnect is the number of the Connect protocol in the suite.
const protocolConnect = 1

// startBackend runs a server of the suite's with a receive limit far above the gateway's.
func startBackend(protocol uint64) (cmd *exec.Cmd, host string, port uint64, err error) {
	cmd = child(os.Getenv("GRPCSERVER"))
	if protocol == protocolConnect {
		cmd = child(os.Getenv("REFERENCESERVER"))
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", 0, fmt.Errorf("start the backend: %w", err)
	}
	var b []byte
	// gRPC, HTTP/2.
	for number, value := range map[protowire.Number]uint64{1: 2, 2: 2, 6: 64 << 20} {
		b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), value)
	}
	if err := writeMessage(in, b); err != nil {
		return nil, "", 0, fmt.Errorf("start the backend: %w", err)
	}
	answer, err := readMessage(out)
	if err != nil {
		return nil, "", 0, fmt.Errorf("start the backend: %w", err)
	}
	host = "127.0.0.1"
	err = eachField(answer, func(number protowire.Number, value uint64, bytes []byte) error {
		switch {
		case number == 1 && len(bytes) > 0:
			host = string(bytes)
		case number == 2:
			port = value
		}
		return nil
	})
	return cmd, host, port, err
}

// startGateway writes the Caddyfile, runs Caddy and waits until it accepts connections.
func startGateway(dir string, req request, backend string) (*exec.Cmd, string, error) {
	listen, err := freeport.Addr()
	if err != nil {
		return nil, "", err
	}
	text, err := caddyfile(dir, req, listen, backend)
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	cmd := child(os.Getenv("CADDY"), "run", "--config", path, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	// Caddy says there that it runs, which a connection does not: it may be another process that
	// accepts it.
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	defer ready.Close()
	cmd.Args = append(cmd.Args, "--pingback", ready.Addr().String())
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start Caddy: %w", err)
	}
	if err := awaitPing(ready, in); err != nil {
		end(cmd)
		return nil, "", fmt.Errorf("start Caddy: %w", err)
	}
	return cmd, listen, nil
}

// awaitPing gives Caddy a word on its standard input and waits until it says it back.
func awaitPing(ready net.Listener, in io.WriteCloser) error {
	const word = "ready"
	if _, err := io.WriteString(in, word); err != nil {
		return err
	}
	in.Close()
	_ = ready.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := ready.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err == nil && string(got) != word {
		err = fmt.Errorf("it says %q", got)
	}
	return err
}

func caddyfile(dir string, req request, listen, backend string) (string, error) {
	protocols, scheme, tls := "h1 h2 h2c", "http", ""
	if req.tls {
		protocols, scheme = "h1 h2 h3", "https"
		files := map[string][]byte{"cert.pem": req.cert, "key.pem": req.key, "client.pem": req.clientCert}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				return "", err
			}
		}
		tls = fmt.Sprintf("\ttls %s/cert.pem %[1]s/key.pem", dir)
		if len(req.clientCert) > 0 {
			tls += fmt.Sprintf(" {\n\t\tclient_auth {\n\t\t\tmode require_and_verify\n\t\t\ttrust_pool file %s/client.pem\n\t\t}\n\t}", dir)
		}
	}
	limit := ""
	if req.receiveLimit > 0 {
		limit = fmt.Sprintf("\t\tmax_request_size %d\n", req.receiveLimit)
	}
	transport := ""
	if name := os.Getenv("GATEWAY_TRANSPORT"); name != "" {
		transport = "transport " + name
	}
	if further := os.Getenv("OPTIONS"); further != "" {
		limit += further + "\n"
	}
	return fmt.Sprintf(`{
	admin off
	auto_https off
	fallback_sni 127.0.0.1
	log {
		level WARN
	}
	servers {
		protocols %s
		strict_sni_host insecure_off
	}
}

%s://%s {
%s
	grpc_gateway {
		timeout off
		upstream conformance {
			discover static %s
			descriptors proto connectrpc/conformance/v1/service.proto {
				import_path %s
			}
			max_receive_size 64MiB
			require_ready 10s
			%s
		}
%s	}
}
`, protocols, scheme, listen, tls, backend, os.Getenv("PROTO_DIR"), transport, limit), nil
}

// child is a command that dies with the launcher.
func child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if name == "" {
		cmd.Err = fmt.Errorf("%s is not set", strings.Join([]string{"GRPCSERVER", "CADDY", "PROTO_DIR"}, " or "))
	}
	return cmd
}

// end stops a child, politely at first.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(3*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
}
