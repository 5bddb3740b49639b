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
	if opts.etcd == "" {
		endpoint, stop, err := startEtcd(opts.listenEtcd)
		if err != nil {
			return err
		}
		defer stop()
		opts.etcd = endpoint
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
	for name, value := range map[string]string{"ETCD": opts.etcd, "GATEWAY_LISTEN": siteAddress(opts.listen), "GATEWAY_ADMIN": opts.admin} {
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
	return converse(ctx, fleet, opts, in, out)
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

func greet(out io.Writer, opts options) {
	host, port, _ := net.SplitHostPort(opts.listen)
	if host == "" || host == "127.0.0.1" {
		host = "localhost"
	}
	url := "http://" + net.JoinHostPort(host, port)
	fmt.Fprintf(out, `
Read the API, call it and watch its streams in a browser: %[1]s/docs/

The gateway serves %[1]s. Try, in another terminal:

  curl %[1]s/v1/users/1
  curl '%[1]s/v1/users?role=MEMBER'
  curl -H Content-Type:application/json -d '{"name":"Barbara Liskov","role":"MEMBER"}' %[1]s/v1/users
  curl -H Content-Type:application/json -d '{"id":2}' %[1]s/demo.user.v1.UserService/GetUser
  curl http://%[2]s/grpc_gateway/upstreams

The instances are registered in etcd at %[3]s under %[4]s/.
Type + and Enter to start one more, - and Enter to stop one, s and Enter to see the pool; Ctrl-C ends.

`, url, opts.admin, opts.etcd, opts.key)
}

// converse obeys the keys until Ctrl-C. When the input ends, only the keys end: without a terminal
// the demo goes on.
func converse(ctx context.Context, fleet *fleet, opts options, in io.Reader, out io.Writer) error {
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
			fmt.Fprintln(out, "ending: calls in flight finish, instances deregister")
			return endOf(ctx)
		case line := <-lines:
			if line == "q" {
				return nil
			}
			if err := obey(ctx, line, fleet, opts, out); err != nil {
				fmt.Fprintln(out, "!", err)
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

func obey(ctx context.Context, line string, fleet *fleet, opts options, out io.Writer) error {
	switch line {
	case "+":
		addr, err := fleet.add(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "+ %s registered itself\n", addr)
	case "-":
		addr, err := fleet.remove()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "- %s deregistered, finished its calls and stopped\n", addr)
	case "s", "":
	default:
		return fmt.Errorf("%q is not a key: + starts an instance, - stops one, s shows the pool, q ends", line)
	}
	time.Sleep(300 * time.Millisecond) // Most changes in etcd have arrived by then.
	pool, err := pools(ctx, opts.admin)
	if err != nil {
		return fmt.Errorf("ask the admin API: %w", err)
	}
	fmt.Fprintln(out, "  pool:", pool)
	return nil
}

// fleet is the set of instances of the demo.
type fleet struct {
	client    *clientv3.Client
	key       string
	store     *userStore
	instances []*instance
}

func (f *fleet) add(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	inst, err := startInstance(ctx, f.client, f.key, f.store)
	if err != nil {
		return "", err
	}
	f.instances = append(f.instances, inst)
	return inst.addr, nil
}

func (f *fleet) remove() (string, error) {
	if len(f.instances) == 0 {
		return "", errors.New("no instance is left to stop")
	}
	inst := f.instances[0]
	f.instances = f.instances[1:]
	inst.close()
	return inst.addr, nil
}

func (f *fleet) close() {
	for _, inst := range f.instances {
		inst.close()
	}
}
