// Command load makes the load of the comparison in a process of its own, which can be kept to
// another core than the gateway's. It reads cells as JSON, and writes what each found.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var c traffic.Cell
		if err := in.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var answer struct {
			Result traffic.Result
			Error  string
		}
		res, err := traffic.Run(c)
		answer.Result = res
		if err != nil {
			answer.Error = err.Error()
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
}
