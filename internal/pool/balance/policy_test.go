package balance

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// room says whether an endpoint has room.
type room bool

func (r room) HasRoom() bool { return bool(r) }

// setOf returns a set of n endpoints with room. Their weights are 1 to n, or equal.
func setOf(n int, weighted bool) Set {
	r := rand.New(rand.NewPCG(1, 1))
	s := Set{Random: r.Uint64}
	for i := range n {
		s.Endpoints = append(s.Endpoints, &Endpoint{Seed: Mix(uint64(i)), Capacity: room(true)})
		if weighted {
			s.Weights = append(s.Weights, uint32(i+1))
		}
	}
	return s
}

// policies returns every policy over one set.
func policies(s Set) map[string]Policy {
	return map[string]Policy{
		"p2c": NewP2C(s, new(Room)), "round robin": NewRoundRobin(s, new(atomic.Uint64)), "hash": NewHash(s, new(Room)),
	}
}

func TestSharesGoByWeight(t *testing.T) {
	const calls = 60_000
	for _, weighted := range []bool{false, true} {
		s := setOf(4, weighted)
		for name, p := range policies(s) {
			var got [4]int
			for key := range uint64(calls) {
				got[p.Choose(Call{Key: Mix(key), HasKey: true})]++
			}
			for i, n := range got {
				want := calls / 4.0
				if weighted {
					want = calls * float64(i+1) / 10
				}
				if math.Abs(float64(n)-want) > 0.05*want {
					t.Errorf("%s, weighted %v: endpoint %d got %d calls, want %.0f", name, weighted, i, n, want)
				}
			}
		}
	}
}

func TestTheOnlyEndpointIsChosen(t *testing.T) {
	for name, p := range policies(setOf(1, true)) {
		if i := p.Choose(Call{Key: 1, HasKey: true}); i != 0 {
			t.Errorf("%s chose %d", name, i)
		}
	}
}

func TestP2CPrefers(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(other *Endpoint)
		call func(other *Endpoint) Call
	}{
		{name: "the one with fewer calls", make: func(other *Endpoint) { other.InFlight.Store(5) }},
		{name: "the one that answers", make: func(other *Endpoint) { other.Fail(0) }},
		{name: "the one with room", make: func(other *Endpoint) { other.Capacity = room(false) }},
		{name: "the one that was not tried", make: func(*Endpoint) {}, call: func(other *Endpoint) Call {
			return Call{Tried: []*Endpoint{other}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := setOf(2, false)
			s.Endpoints[0].InFlight.Store(1) // so that both are compared
			s.Endpoints[1].InFlight.Store(1)
			tc.make(s.Endpoints[1])
			p := NewP2C(s, new(Room))
			var call Call
			if tc.call != nil {
				call = tc.call(s.Endpoints[1])
			}
			for range 100 {
				if i := p.Choose(call); i != 0 {
					t.Fatal("the other one was chosen")
				}
			}
		})
	}
}

func TestHashGoesToTheSecondBest(t *testing.T) {
	s := setOf(5, false)
	h := NewHash(s, new(Room))
	call := Call{Key: 99, HasKey: true}
	first, second := h.best(call.Key)
	s.Endpoints[first].Capacity = room(false)
	if i := h.Choose(call); i != second {
		t.Errorf("without room at %d, %d was chosen, want %d", first, i, second)
	}
	s.Endpoints[first].Capacity = room(true)
	call.Tried = []*Endpoint{s.Endpoints[first]}
	if i := h.Choose(call); i != second {
		t.Errorf("after a failure at %d, %d was chosen, want %d", first, i, second)
	}
}

func TestChoosingAllocatesNothing(t *testing.T) {
	for _, weighted := range []bool{false, true} {
		s := setOf(100, weighted)
		s.Endpoints[0].Fail(0)
		tried := []*Endpoint{s.Endpoints[1]}
		for name, p := range policies(s) {
			var key uint64
			if n := testing.AllocsPerRun(1000, func() {
				key++
				p.Choose(Call{Now: int64(key), Key: key, HasKey: key%2 == 0, Tried: tried[:key%2]})
			}); n != 0 {
				t.Errorf("%s, weighted %v: %v allocations", name, weighted, n)
			}
		}
	}
}
