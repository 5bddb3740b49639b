package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServerFake is a name server on loopback. It answers by UDP and by TCP on the same port.
type nameServerFake struct {
	addr string
	// names are the records by absolute name. A name that is missing does not exist.
	names map[string][]dnsmessage.ResourceBody
	// silent makes it read questions and not answer.
	silent bool
	// long makes it cut off every answer by UDP.
	long bool

	mu    sync.Mutex
	asked []string // network and name of each question
}

func (n *nameServerFake) questions() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked)
}

// startNameServer starts the server and stops it with the test.
func startNameServer(t *testing.T, n *nameServerFake) *nameServerFake {
	t.Helper()
	var (
		udp net.PacketConn
		tcp net.Listener
		err error
	)
	for range 20 { // The port of one protocol may be taken in the other one.
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			break
		}
		udp.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	n.addr = udp.LocalAddr().String()
	var wg sync.WaitGroup
	wg.Go(func() { n.serveUDP(udp) })
	wg.Go(func() { n.serveTCP(tcp, &wg) })
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		wg.Wait()
	})
	return n
}

func (n *nameServerFake) serveUDP(conn net.PacketConn) {
	buf := make([]byte, 4<<10)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := n.answer("udp", buf[:size]); answer != nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func (n *nameServerFake) serveTCP(listener net.Listener, wg *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			question := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, question); err != nil {
				return
			}
			if answer := n.answer("tcp", question); answer != nil {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
		})
	}
}

func (n *nameServerFake) answer(network string, question []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	n.mu.Lock()
	n.asked = append(n.asked, network+" "+q.Name.String())
	n.mu.Unlock()
	if n.silent {
		return nil
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, Truncated: n.long && network == "udp"},
		Questions: m.Questions,
	}
	records, ok := n.names[q.Name.String()]
	if !ok {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range records {
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, Type: q.Type, TTL: 1}
		if typeOf(body) == q.Type && !reply.Truncated {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func typeOf(body dnsmessage.ResourceBody) dnsmessage.Type {
	switch body.(type) {
	case *dnsmessage.AResource:
		return dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		return dnsmessage.TypeAAAA
	default:
		return dnsmessage.TypeSRV
	}
}

func address(ip string) dnsmessage.ResourceBody {
	addr := netip.MustParseAddr(ip)
	if addr.Is4() {
		return &dnsmessage.AResource{A: addr.As4()}
	}
	return &dnsmessage.AAAAResource{AAAA: addr.As16()}
}

func record(priority, weight, port uint16, target string) dnsmessage.ResourceBody {
	return &dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(target)}
}

func TestNameServers(t *testing.T) {
	const user = "user.service.consul."
	names := map[string][]dnsmessage.ResourceBody{
		user: {address("10.0.0.2"), address("10.0.0.1"), address("2001:db8::1")},
	}
	want := []string{"10.0.0.1:9001", "10.0.0.2:9001", "[2001:db8::1]:9001"}
	t.Run("are asked in the place of the system's", func(t *testing.T) {
		n := startNameServer(t, &nameServerFake{names: names})
		wantAddrs(t, found(t, asking(n.addr)), want...)
		for _, q := range n.questions() {
			if q != "udp "+user {
				t.Errorf("asked %s", q)
			}
		}
	})
	t.Run("are asked by TCP if the config says so", func(t *testing.T) {
		n := startNameServer(t, &nameServerFake{names: names})
		wantAddrs(t, found(t, asking("tcp/"+n.addr)), want...)
		for _, q := range n.questions() {
			if q != "tcp "+user {
				t.Errorf("asked %s", q)
			}
		}
	})
	t.Run("are asked again by TCP for a long answer", func(t *testing.T) {
		n := startNameServer(t, &nameServerFake{names: names, long: true})
		wantAddrs(t, found(t, asking(n.addr)), want...)
		if q := n.questions(); !slices.Contains(q, "udp "+user) || !slices.Contains(q, "tcp "+user) {
			t.Errorf("asked %q", q)
		}
	})
	for name, broken := range map[string]string{"": "", "tcp/": "tcp/"} {
		t.Run("are left for the next one when they are silent "+name, func(t *testing.T) {
			silent := startNameServer(t, &nameServerFake{silent: true})
			n := startNameServer(t, &nameServerFake{names: names})
			wantAddrs(t, found(t, asking(broken+silent.addr, n.addr)), want...)
			if len(silent.questions()) == 0 {
				t.Error("the first server was not asked")
			}
		})
	}
	t.Run("are left for the next one when they are down", func(t *testing.T) {
		down := startNameServer(t, &nameServerFake{silent: true})
		listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that is closed at once
		if err != nil {
			t.Fatal(err)
		}
		down.addr = listener.Addr().String()
		listener.Close()
		n := startNameServer(t, &nameServerFake{names: names})
		wantAddrs(t, found(t, asking("tcp/"+down.addr, n.addr)), want...)
	})
	t.Run("that are all silent are trouble", func(t *testing.T) {
		silent := startNameServer(t, &nameServerFake{silent: true})
		got := found(t, asking(silent.addr))
		if got.Synced || got.Err == nil || !strings.Contains(got.Err.Error(), "looking up the addresses of user.service.consul") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("that do not know the name are believed as ever", func(t *testing.T) {
		n := startNameServer(t, &nameServerFake{})
		if got := found(t, asking(n.addr)); got.Synced || got.Err == nil || got.LastContact.IsZero() {
			t.Errorf("got %+v", got)
		}
		for _, q := range n.questions() {
			if q != "udp "+user {
				t.Errorf("asked %s, want no search domains", q)
			}
		}
	})
}

// The names in SRV records are known to the same servers, and perhaps to no others.
func TestNameServersOfRecords(t *testing.T) {
	const service = "_grpc._tcp.user.service.consul."
	n := startNameServer(t, &nameServerFake{names: map[string][]dnsmessage.ResourceBody{
		service: {
			record(1, 10, 9001, "a.node.consul."), record(1, 0, 9002, "b.node.consul."), record(1, 5, 9003, "gone.node.consul."),
			record(2, 10, 9004, "a.node.consul."),
		},
		"a.node.consul.": {address("10.0.0.1"), address("2001:db8::1")},
		"b.node.consul.": {address("10.0.0.2"), address("10.0.0.3")},
	}})
	got := found(t, &Source{SRV: strings.TrimSuffix(service, "."), Resolvers: []string{n.addr}})
	weights := make(map[string]uint32)
	for _, e := range got.Endpoints {
		weights[strings.TrimPrefix(e.Addr, "[2001:db8::1]")] = e.Weight
	}
	// Whether the host with two addresses is used by IPv4 or IPv6 depends on the machine.
	delete(weights, "10.0.0.1:9001")
	delete(weights, ":9001")
	if want := map[string]uint32{"10.0.0.2:9002": 1, "10.0.0.3:9002": 1}; !reflect.DeepEqual(weights, want) || len(got.Endpoints) != 3 {
		t.Errorf("endpoints %+v", got.Endpoints)
	}
	if len(got.Skipped) != 1 || got.Skipped[0].ID != "gone.node.consul:9003" || !strings.Contains(got.Skipped[0].Reason, "expected a name with addresses") {
		t.Errorf("skipped %+v", got.Skipped)
	}
}

// One name that cannot be looked up just now takes no instance away.
func TestTroubleWithANameOfARecordKeepsTheList(t *testing.T) {
	r := &fakeResolver{records: []*net.SRV{{Target: "user.internal.", Port: 1}}}
	r.set(errServer)
	records := recordsResolver{r, r.records}
	if l, err := lookupService("x", true)(t.Context(), records); err == nil || len(l.endpoints) > 0 {
		t.Errorf("got %+v, %v", l, err)
	}
}

// recordsResolver knows SRV records. It looks up names by the fake.
type recordsResolver struct {
	*fakeResolver

	records []*net.SRV
}

func (r recordsResolver) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", r.records, nil
}

func TestAnAddressIsNotMadeAbsolute(t *testing.T) {
	for name, want := range map[string]string{"user": "user.", "user.": "user.", "127.0.0.1": "127.0.0.1", "::1": "::1"} {
		if got := rooted(name); got != want {
			t.Errorf("%s became %s, want %s", name, got, want)
		}
	}
}
