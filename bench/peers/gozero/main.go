// Command gozero is go-zero's gateway. Its log is off, as everyone's is, and so is the shedding of
// load, which would refuse requests for nothing but that the benchmark keeps a core busy. Its
// timeouts are ten minutes, because of 512 requests of 64 KiB at a time the last ones wait longer
// than the three seconds that it has. Everything else is as it comes.
package main

import (
	"log"
	"net"
	"os"
	"strconv"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/gateway"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/debug"
)

func main() {
	debug.Start()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	host, port, err := net.SplitHostPort(*debug.Listen)
	if err != nil {
		return err
	}
	protoset, err := writeProtoset()
	if err != nil {
		return err
	}
	defer os.Remove(protoset)
	var c gateway.GatewayConf
	config := "Name: bench\nHost: " + host + "\nPort: " + port + "\nTimeout: 600000\nCpuThreshold: 0\nLog:\n  Level: severe\n  Stat: false\nMiddlewares:\n  Log: false\n" +
		"Upstreams:\n- Grpc:\n    Timeout: 600000\n    Endpoints: [" + strconv.Quote(*debug.Backend) + "]\n  ProtoSets: [" + strconv.Quote(protoset) + "]\n"
	if err := conf.LoadFromYamlBytes([]byte(config), &c); err != nil {
		return err
	}
	gateway.MustNewServer(c).Start()
	return nil
}

func writeProtoset() (string, error) {
	set, err := canned.Protoset()
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "bench-*.binpb")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = f.Write(set)
	return f.Name(), err
}
