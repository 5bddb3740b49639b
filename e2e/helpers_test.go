package e2e

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	kratosregistry "github.com/go-kratos/kratos/v2/registry"
)

func median(values []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func kratosValue(t *testing.T, instance *kratosregistry.ServiceInstance) string {
	t.Helper()
	data, err := json.Marshal(instance)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
