package rest

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestReadAllKeepsToTheLimit(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int64
		err   error
	}{
		{"just enough", 5, nil},
		{"one byte less", 4, errTooLarge},
		{"none at all", math.MaxInt64, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := readAll(strings.NewReader("hello"), make([]byte, 0, 16), tc.limit)
			if !errors.Is(err, tc.err) || err == nil && string(got) != "hello" {
				t.Errorf("%q, %v, want %v", got, err, tc.err)
			}
		})
	}
}
