package pool

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/discovery"
)

// BenchmarkCall compares a call through a channel, over each transport, with a call through a bare
// grpc.ClientConn. The server is in the same process and counts as well.
func BenchmarkCall(b *testing.B) {
	server := startBackend(b, "")
	overGRPC := openChannel(b, Settings{Transport: TransportGRPC}, oneInstance(server.addr))
	overWire := openChannel(b, Settings{Transport: TransportWire}, oneInstance(server.addr))
	ready(b, overGRPC)
	ready(b, overWire)
	for _, cc := range []struct {
		name string
		conn grpc.ClientConnInterface
	}{{"bare", bare(b, server.addr)}, {"grpc", overGRPC}, {"wire", overWire}} {
		b.Run("Invoke/"+cc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var reply mem.BufferSlice
				if err := cc.conn.Invoke(context.Background(), methodEcho, raw("hello"), &reply); err != nil {
					b.Fatal(err)
				}
				reply.Free()
			}
		})
		b.Run("Idempotent/"+cc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var reply mem.BufferSlice
				if err := cc.conn.Invoke(context.Background(), methodEcho, raw("hello"), &reply, Idempotent()); err != nil {
					b.Fatal(err)
				}
				reply.Free()
			}
		})
		b.Run("NewStream/"+cc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cs, err := cc.conn.NewStream(context.Background(), &grpc.StreamDesc{}, methodEcho)
				if err != nil {
					b.Fatal(err)
				}
				if err := cs.SendMsg(raw("hello")); err != nil {
					b.Fatal(err)
				}
				var reply mem.BufferSlice
				if err := cs.RecvMsg(&reply); err != nil {
					b.Fatal(err)
				}
				reply.Free()
			}
		})
	}
}

// benchBalancer returns a balancer with n READY endpoints on a fake grpc.
func benchBalancer(b *testing.B, s Settings, n int, weight func(i int) uint32) (*balancer, *fakeGRPC, []discovery.Endpoint) {
	b.Helper()
	bal, g := startBalancer(b, s)
	bal.events = newEvents(zap.NewNop())
	g.open = true
	list := make([]discovery.Endpoint, n)
	for i := range list {
		addr := fmt.Sprintf("10.0.%03d.%03d:9001", i/250, i%250)
		list[i] = discovery.Endpoint{ID: "user.rpc/" + addr, Addr: addr, Weight: weight(i)}
	}
	bal.onFeed(synced(list...))
	eventually(b, "all are ready", func() bool {
		bal.lock()
		defer bal.publishAndUnlock()
		return len(bal.ready) == n
	})
	time.Sleep(2 * applyEvery)
	return bal, g, list
}

func equal(int) uint32     { return 1 }
func unequal(i int) uint32 { return uint32(i%10) + 1 }

// BenchmarkPick measures the policy's part of a call.
func BenchmarkPick(b *testing.B) {
	for _, policy := range []string{BalanceP2C, BalanceRoundRobin, BalanceHash} {
		for name, weight := range map[string]func(int) uint32{"equal": equal, "weighted": unequal} {
			for _, n := range []int{10, 10_000} {
				b.Run(fmt.Sprintf("%s/%s/%d", policy, name, n), func(b *testing.B) {
					_, g, _ := benchBalancer(b, Settings{Balance: policy}, n, weight)
					picker := g.state.Picker
					ctxs := make([]context.Context, 64)
					for i := range ctxs {
						ctxs[i] = &lease{Context: WithHash(context.Background(), strconv.Itoa(i)), unary: true}
					}
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						res, err := picker.Pick(grpcbalancer.PickInfo{Ctx: ctxs[i%len(ctxs)]})
						if err != nil {
							b.Fatal(err)
						}
						res.Done(grpcbalancer.DoneInfo{BytesSent: true})
					}
				})
			}
		}
	}
}

// BenchmarkChange measures the cost of one change, including the new picker. The changes are a list
// with one endpoint more or less, and a connection that is lost and comes back.
func BenchmarkChange(b *testing.B) {
	for name, weight := range map[string]func(int) uint32{"equal": equal, "weighted": unequal} {
		for _, n := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("list/%s/%d", name, n), func(b *testing.B) {
				bal, _, list := benchBalancer(b, Settings{}, n, weight)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					bal.lock()
					bal.applied = time.Time{}
					bal.flushed = time.Time{}
					bal.publishAndUnlock()
					bal.onFeed(synced(list[i%2:]...))
				}
			})
			b.Run(fmt.Sprintf("connection/%s/%d", name, n), func(b *testing.B) {
				bal, g, list := benchBalancer(b, Settings{}, n, weight)
				sub := g.sub(list[n/2].Addr)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					bal.lock()
					bal.flushed = time.Time{}
					bal.publishAndUnlock()
					state := connectivity.TransientFailure
					if i%2 == 1 {
						state = connectivity.Ready
					}
					sub.become(state, nil)
				}
			})
		}
	}
}

// BenchmarkSubsetChange measures the cost of one change of a list when 50 of the known endpoints
// are used.
func BenchmarkSubsetChange(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bal, g := startBalancer(b, Settings{Subset: 50, SubsetKey: "gateway"})
			g.open = true
			list := instances(make([]string, n)...)
			for i := range list {
				list[i].ID = fmt.Sprintf("user.rpc/10.0.%03d.%03d:9001", i/250, i%250)
				list[i].Addr = list[i].ID[len("user.rpc/"):]
			}
			bal.onFeed(synced(list...))
			time.Sleep(2 * applyEvery)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				bal.lock()
				bal.applied = time.Time{}
				bal.flushed = time.Time{}
				bal.publishAndUnlock()
				bal.onFeed(synced(list[i%2:]...))
			}
		})
	}
}

// BenchmarkLook measures the search for silent instances, which runs every half second. The
// instances are idle or have a call each.
func BenchmarkLook(b *testing.B) {
	for _, calls := range []int64{0, 1} {
		b.Run(fmt.Sprintf("%d/10000", calls), func(b *testing.B) {
			bal, _, _ := benchBalancer(b, Settings{}, 10_000, equal)
			for _, ep := range bal.ready {
				ep.InFlight.Store(calls)
			}
			for b.Loop() {
				bal.lock()
				for _, ep := range bal.ready {
					ep.silence.since = 0
				}
				bal.lookForSilence()
				bal.agenda = bal.agenda[:0]
				bal.publishAndUnlock()
			}
		})
	}
}
