// Command byhand is the floor of everything that speaks HTTP/1.1 and gRPC: a server that reads just
// as much of a request as it must, makes the call over the gateway's own transport, and writes
// canned bytes. It has no net/http, no Caddy and no timeouts.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"strconv"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/debug"
	"github.com/caddy-grpc/gateway/bench/internal/wirecall"
)

func main() {
	debug.Start()
	client, err := wirecall.Dial(*debug.Backend)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *debug.Listen)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{client: client, answers: answers()}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go s.serve(conn)
	}
}

type server struct {
	client *wirecall.Client
	// answers are by the first line of the request, without its query, and its content type.
	answers map[string]*answer
}

// answer is what is written for a kind of work.
type answer struct {
	work *canned.Work
	// whole is the answer with its header. Of a stream it is the header only.
	whole []byte
	// chunks are the messages of a stream.
	chunks [][]byte
}

func answers() map[string]*answer {
	all := make(map[string]*answer)
	for _, w := range canned.Works() {
		if w.Method == "" {
			continue
		}
		a := &answer{work: w}
		head := "HTTP/1.1 200 OK\r\nContent-Type: " + w.AnswerType + "\r\n"
		if w.Stream {
			a.whole = []byte(head + "Transfer-Encoding: chunked\r\n\r\n")
			for _, line := range w.Lines() {
				a.chunks = append(a.chunks, fmt.Appendf(nil, "%x\r\n%s\r\n", len(line), line))
			}
		} else {
			a.whole = append([]byte(head+"Content-Length: "+strconv.Itoa(len(w.Answer))+"\r\n\r\n"), w.Answer...)
		}
		all[w.Method+" "+w.Path+" "+w.ContentType] = a
	}
	return all
}

// serve answers the requests of a connection until one cannot be read or answered.
func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	for {
		a, err := s.read(r)
		if err == nil {
			err = s.answer(w, a)
		}
		if err != nil {
			return
		}
	}
}

// read reads a request, and returns what to do.
func (s *server) read(r *bufio.Reader) (*answer, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	target, _, _ := bytes.Cut(line, []byte(" HTTP/"))
	target, _, _ = bytes.Cut(target, []byte("?"))
	key := string(target) + " "
	length := 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return nil, err
		}
		if len(line) == len("\r\n") {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Type":
			key += string(bytes.TrimSpace(value))
		case "Content-Length":
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
	}
	if _, err := r.Discard(length); err != nil {
		return nil, err
	}
	a := s.answers[key]
	if a == nil {
		return nil, fmt.Errorf("no work %q", key)
	}
	return a, nil
}

func (s *server) answer(w *bufio.Writer, a *answer) error {
	if !a.work.Stream {
		if err := s.client.Invoke(context.Background(), a.work); err != nil {
			return err
		}
		_, _ = w.Write(a.whole)
		return w.Flush()
	}
	_, _ = w.Write(a.whole)
	err := s.client.Stream(context.Background(), a.work, func(i int) error {
		_, err := w.Write(a.chunks[i])
		return err
	})
	if err != nil {
		return err
	}
	_, _ = w.WriteString("0\r\n\r\n")
	return w.Flush()
}
