package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// streams is the limit of streams, or what the proxy has by default.
func (p *Peer) streams() int {
	if p.cfg.Streams == 0 {
		return 100
	}
	return p.cfg.Streams
}

// configured writes a configuration file in a directory of its own.
func configured(t testing.TB, format string, args ...any) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "proxy.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// program finds a program that may be installed where only root looks for it.
func program(name string) string {
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path := filepath.Join(dir, name); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	return name
}

func nginx(t testing.TB, p *Peer) *exec.Cmd {
	t.Helper()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	dir, file := configured(t, `
daemon off;
%s
worker_processes 1;
error_log stderr;
pid nginx.pid;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	client_max_body_size 0;
	server {
		listen %s http2;
		http2_max_concurrent_streams %d;
		location / { grpc_pass grpc://%s; }
	}
}
`, user, p.Addr, p.streams(), p.backend.addr)
	return exec.Command(program("nginx"), "-e", "stderr", "-p", dir, "-c", file)
}

func haproxy(t testing.TB, p *Peer) *exec.Cmd {
	t.Helper()
	_, file := configured(t, `
global
	tune.h2.max-concurrent-streams %d
defaults
	mode http
	timeout connect 5s
	timeout client 1m
	timeout server 1m
frontend grpc
	bind %s proto h2
	default_backend grpc
backend grpc
	http-reuse never
	server one %s proto h2 max-reuse 0
`, p.streams(), p.Addr, p.backend.addr)
	return exec.Command(program("haproxy"), "-db", "-f", file)
}

func nghttpx(t testing.TB, p *Peer) *exec.Cmd {
	t.Helper()
	return exec.Command("nghttpx", "--conf=/dev/null", "--workers=1", "--errorlog-file=/dev/stderr",
		"--frontend=127.0.0.1,"+port(p.Addr)+";no-tls", "--backend=127.0.0.1,"+port(p.backend.addr)+";;proto=h2",
		fmt.Sprint("--frontend-http2-max-concurrent-streams=", p.streams()))
}

func apache(t testing.TB, p *Peer) *exec.Cmd {
	t.Helper()
	_, file := configured(t, `
ServerRoot /usr/lib/apache2
ServerName localhost
PidFile ${DIR}/apache.pid
DefaultRuntimeDir ${DIR}
ErrorLog /dev/stderr
Listen %s
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule http2_module modules/mod_http2.so
LoadModule proxy_module modules/mod_proxy.so
LoadModule proxy_http2_module modules/mod_proxy_http2.so
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
Protocols h2c
H2Direct on
H2MaxSessionStreams %d
ProxyPass / h2c://%s/
`, p.Addr, p.streams(), p.backend.addr)
	cmd := exec.Command(program("apache2"), "-f", file, "-DFOREGROUND")
	cmd.Env = append(os.Environ(), "DIR="+filepath.Dir(file))
	return cmd
}
