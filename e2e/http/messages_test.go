package httpe2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// pieces reads a body in pieces of random size, so that messages are cut anywhere.
type pieces struct {
	rest   []byte
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(len(p.rest), 1+p.random.IntN(3000))])
	p.rest = p.rest[n:]
	return n, nil
}

// TestManyMessagesOfARequest: thousands of messages of one request arrive, in order and once, in
// each protocol that has envelopes, over each transport.
func TestManyMessagesOfARequest(t *testing.T) {
	const messages = 5000
	var texts []string
	var body []byte
	for i := range messages {
		text := strings.Repeat("x", i%150) + fmt.Sprint(i)
		if i%1000 == 999 {
			text = strings.Repeat("y", 100_000)
		}
		texts = append(texts, text)
		message, err := proto.Marshal(&testpb.EchoRequest{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		body = binary.BigEndian.AppendUint32(append(body, 0), uint32(len(message)))
		body = append(body, message...)
	}
	want := []byte(strings.Join(texts, ","))
	backend := testkit.StartBackend(t)
	for _, transport := range []string{"grpc", "wire"} {
		caddy := kit.StartCaddy(t, kit.Options{
			Global: "\tgrpc_gateway {\n\t\tupstream echo {\n\t\t\tdiscover static " + backend.Addr() + "\n\t\t\ttransport " + transport + "\n\t\t}\n\t}",
			Site:   "\tgrpc_gateway echo",
		})
		caddy.WaitReady(t, 30*time.Second, backend.Addr())
		client := kit.H2C()
		t.Cleanup(client.CloseIdleConnections)
		for _, contentType := range []string{"application/grpc", "application/grpc-web+proto", "application/connect+proto"} {
			t.Run(transport+"/"+strings.ReplaceAll(contentType, "/", " "), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				sent := &pieces{rest: body, random: rand.New(rand.NewPCG(1, 2))}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, caddy.URL("/gateway.test.v1.Echo/ClientStream"), sent)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", contentType)
				req.Header.Set("TE", "trailers")
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				answer, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Contains(answer, want) {
					t.Errorf("status %d, %d bytes, trailer %v, %v: %.300q", resp.StatusCode, len(answer), resp.Trailer, err, answer)
				}
			})
		}
	}
}
