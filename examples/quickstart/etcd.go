package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdServer is a single-node etcd in this process. It can be stopped and started again with its
// data, at the same address.
type etcdServer struct {
	addr    string // for clients
	dir     string // of the data, a temporary one
	running *embed.Etcd
}

// startEtcd runs an etcd that listens for clients at addr. Port 0 takes a free port.
func startEtcd(addr string) (*etcdServer, error) {
	dir, err := os.MkdirTemp("", "quickstart-etcd-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for etcd: %w", err)
	}
	e := &etcdServer{addr: addr, dir: dir}
	if err := e.start(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// start runs the server, which must not run, and waits until it is ready.
func (e *etcdServer) start() error {
	cfg := embed.NewConfig()
	cfg.Dir = e.dir
	cfg.LogLevel = "fatal" // its error lines at a normal end only confuse
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: e.addr}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start the embedded etcd on %s (give another address with --listen-etcd, or your own etcd with --etcd): %w", e.addr, err)
	}
	select {
	case <-server.Server.ReadyNotify():
		e.addr, e.running = server.Clients[0].Addr().String(), server
		return nil
	case err = <-server.Err():
	case <-time.After(30 * time.Second):
		err = errors.New("not ready after 30 s")
	}
	server.Close()
	return fmt.Errorf("start the embedded etcd: %w", err)
}

// stop ends the server, if it runs, and keeps its data.
func (e *etcdServer) stop() {
	if e.running != nil {
		e.running.Close()
		e.running = nil
	}
}

// close ends the server and removes its data.
func (e *etcdServer) close() {
	e.stop()
	os.RemoveAll(e.dir)
}
