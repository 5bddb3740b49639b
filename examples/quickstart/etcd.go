package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// startEtcd runs a single-node etcd in this process. addr is its address for clients; port 0 takes
// a free port. The data is in a temporary directory. stop ends etcd and removes the data.
func startEtcd(addr string) (endpoint string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "quickstart-etcd-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for etcd: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.LogLevel = "fatal" // its error lines at a normal end only confuse
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: addr}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("start the embedded etcd on %s (give another address with --listen-etcd, or your own etcd with --etcd): %w", addr, err)
	}
	stop = func() {
		server.Close()
		os.RemoveAll(dir)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server.Clients[0].Addr().String(), stop, nil
	case err = <-server.Err():
	case <-time.After(30 * time.Second):
		err = errors.New("not ready after 30 s")
	}
	stop()
	return "", nil, fmt.Errorf("start the embedded etcd: %w", err)
}
