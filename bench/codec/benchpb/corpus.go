// Package benchpb has the messages of the benchmarks, and a corpus of them.
package benchpb

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

var start = time.Date(2024, 3, 1, 9, 30, 0, 0, time.UTC)

// NewSmall is a small message.
func NewSmall() *Small {
	return &Small{
		Name:        "books/1984",
		DisplayName: "Nineteen Eighty-Four",
		Revision:    1712345678901,
		State:       State_STATE_ACTIVE,
		CreateTime:  timestamppb.New(start),
	}
}

// NewList is a list of n items, of some 330 bytes of JSON each; the same at each call.
func NewList(n int) *List {
	rng := rand.New(rand.NewPCG(3, 4))
	l := &List{NextPageToken: "CiAKGjBpNDd2Nmp2Zml2cXRwYjBpOXA", TotalSize: 12345}
	for i := range n {
		item := &Item{
			Name:       fmt.Sprintf("catalogs/main/items/%08d", rng.IntN(1e8)),
			Title:      Words(rng, 3+rng.IntN(5)),
			Id:         rng.Int64(),
			Rank:       int32(i),
			Price:      float64(rng.IntN(100000)) / 100,
			InStock:    rng.IntN(2) == 0,
			State:      State(1 + rng.IntN(3)),
			CreateTime: timestamppb.New(start.Add(time.Duration(rng.IntN(1e7)) * time.Second)),
			Owner:      &Owner{Name: Words(rng, 1), Email: Words(rng, 1) + "@example.com"},
		}
		for range rng.IntN(6) {
			item.Tags = append(item.Tags, Words(rng, 1))
		}
		if i%2 == 0 {
			item.UpdateTime = timestamppb.New(start.Add(time.Duration(rng.Int64N(1e16))))
		}
		l.Items = append(l.Items, item)
	}
	return l
}

// Words returns n random words.
func Words(rng *rand.Rand, n int) string {
	all := strings.Fields("amber birch cedar delta ember fjord grove harbor island juniper kettle lagoon meadow nectar orchard pebble quartz river summit timber umbra valley willow yonder zephyr")
	var picked []string
	for range n {
		picked = append(picked, all[rng.IntN(len(all))])
	}
	return strings.Join(picked, " ")
}
