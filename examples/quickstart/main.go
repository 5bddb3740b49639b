// Command quickstart shows the whole gateway on one machine: it runs an etcd, three instances of a
// small service that register themselves there, and Caddy with the Caddyfile beside this file.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

type options struct {
	etcd       string
	listenEtcd string
	key        string
	instances  int
	listen     string
	admin      string
	status     string
	caddy      string
	caddyfile  string
}

func main() {
	var opts options
	flag.StringVar(&opts.etcd, "etcd", "", "address (host:port) of an etcd to use instead of an embedded one")
	flag.StringVar(&opts.listenEtcd, "listen-etcd", "127.0.0.1:2379", "address of the embedded etcd; port 0 takes a free one")
	flag.StringVar(&opts.key, "key", "user.rpc", "service key under which the instances register")
	flag.IntVar(&opts.instances, "instances", 3, "instances to start with")
	flag.StringVar(&opts.listen, "listen", "127.0.0.1:8080", "address of the gateway")
	flag.StringVar(&opts.admin, "admin", "127.0.0.1:2019", "address of Caddy's admin API")
	flag.StringVar(&opts.status, "status", "127.0.0.1:2020", "address of the operators' page")
	flag.StringVar(&opts.caddy, "caddy", "", "Caddy binary to run instead of the one compiled in")
	flag.StringVar(&opts.caddyfile, "caddyfile", "", "Caddyfile to serve instead of the one compiled in")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, opts, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options, in io.Reader, out io.Writer) error {
	var own *etcdServer
	if opts.etcd == "" {
		var err error
		if own, err = startEtcd(opts.listenEtcd); err != nil {
			return err
		}
		defer own.close()
		opts.etcd = own.addr
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{opts.etcd}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return fmt.Errorf("connect to etcd at %s: %w", opts.etcd, err)
	}
	defer client.Close()

	fleet := &fleet{client: client, key: opts.key, store: newUserStore()}
	defer fleet.close()
	for range opts.instances {
		if _, err := fleet.add(ctx); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{
		"ETCD": opts.etcd, "GATEWAY_ADMIN": opts.admin,
		"GATEWAY_LISTEN": siteAddress(opts.listen), "GATEWAY_STATUS": siteAddress(opts.status),
	} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	ctx, ended := context.WithCancelCause(ctx)
	stop, err := startGateway(ctx, opts.caddy, opts.caddyfile, ended)
	if err != nil {
		return err
	}
	defer stop() // before the instances, so that calls in flight end well
	if err := waitReady(ctx, opts); err != nil {
		return err
	}
	greet(out, opts)
	return converse(ctx, &keys{fleet: fleet, etcd: own, admin: opts.admin, out: out}, in)
}

// waitReady waits until every instance is connected.
func waitReady(ctx context.Context, opts options) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		line, err := pools(ctx, opts.admin)
		if err == nil && strings.Count(line, "READY") >= opts.instances {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the gateway did not connect to the %d instances within 30 s: %s (%w)", opts.instances, line, err)
		}
		select {
		case <-ctx.Done():
			return endOf(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// siteAddress returns the address of the site for the Caddyfile. Caddy serves a site only for the
// hosts that its address names. A site on the loopback interface names both hosts that people type.
func siteAddress(listen string) string {
	if host, port, err := net.SplitHostPort(listen); err == nil && (host == "127.0.0.1" || host == "localhost") {
		return fmt.Sprintf("http://localhost:%[1]s, http://127.0.0.1:%[1]s", port)
	}
	return "http://" + listen
}

// siteURL is the URL that people type for an address to listen at.
func siteURL(listen string) string {
	host, port, _ := net.SplitHostPort(listen)
	if host == "" || host == "127.0.0.1" {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

func greet(out io.Writer, opts options) {
	fmt.Fprintf(out, `
Read the API, call it and watch its streams in a browser: %[1]s/docs/
See what the gateway does, and what is wrong:             %[2]s/

The gateway serves %[1]s. Try, in another terminal:

  curl %[1]s/v1/users/1
  curl '%[1]s/v1/users?role=MEMBER'
  curl -H Content-Type:application/json -d '{"name":"Barbara Liskov","role":"MEMBER"}' %[1]s/v1/users
  curl -H Content-Type:application/json -d '{"id":2}' %[1]s/demo.user.v1.UserService/GetUser

A stream, as lines of JSON and as server-sent events, and a call by Connect:

  curl -N '%[1]s/v1/ticks?count=5'
  curl -N -H Accept:text/event-stream '%[1]s/v1/ticks?count=5'
  curl -G -d connect=v1 -d encoding=json --data-urlencode 'message={"id":2}' %[1]s/demo.user.v1.UserService/GetUser

What the page for operators shows, as JSON:

  curl http://%[3]s/grpc_gateway/upstreams

The instances are registered in etcd at %[4]s under %[5]s/. Type a key and Enter:

  +  start one more instance        -  stop one: it deregisters and finishes its calls
  k  kill one, as a crash would     e  stop etcd, or start it again: calls go on
  s  show the pool                  q  end (so does Ctrl-C)

`, siteURL(opts.listen), siteURL(opts.status), opts.admin, opts.etcd, opts.key)
}

// converse obeys the keys until Ctrl-C. When the input ends, only the keys end: without a terminal
// the demo goes on.
func converse(ctx context.Context, k *keys, in io.Reader) error {
	lines := make(chan string)
	go func() {
		scanner := bufio.NewScanner(in)
		for scanner.Scan() {
			select {
			case lines <- strings.TrimSpace(scanner.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(k.out, "ending: calls in flight finish, instances deregister")
			return endOf(ctx)
		case line := <-lines:
			if line == "q" {
				return nil
			}
			if err := k.obey(ctx, line); err != nil {
				fmt.Fprintln(k.out, "!", err)
			}
		}
	}
}

// endOf is why the demo ends: nil for Ctrl-C.
func endOf(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errCaddyEnded) {
		return cause
	}
	return nil
}
