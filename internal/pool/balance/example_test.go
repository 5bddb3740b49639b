package balance_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// always has room for one more call.
type always struct{}

func (always) HasRoom() bool { return true }

// Two endpoints are equal, and one of them has more calls in flight.
func ExampleP2C() {
	idle, busy := &balance.Endpoint{Capacity: always{}}, &balance.Endpoint{Capacity: always{}}
	idle.InFlight.Store(1)
	busy.InFlight.Store(7)
	policy := balance.NewP2C(balance.Set{
		Endpoints: []*balance.Endpoint{idle, busy},
		Random:    rand.New(rand.NewPCG(1, 2)).Uint64,
	}, new(balance.Room))
	fmt.Println(policy.Choose(balance.Call{}))
	// Output: 0
}
