package pool

import (
	"strings"
	"testing"
	"time"
)

func TestSettingsHaveDefaults(t *testing.T) {
	got, err := Settings{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Connections: 1, MaxConnections: 4, Balance: "p2c", Transport: "grpc",
		KeepaliveTime: 5*time.Minute + 10*time.Second, KeepaliveTimeout: 20 * time.Second,
		BackoffBase: 200 * time.Millisecond, BackoffMax: 5 * time.Second, ConnectTimeout: 5 * time.Second,
		MaxReceiveSize: 4 << 20, DrainTimeout: 30 * time.Second, Linger: 5 * time.Second,
		RetryAttempts: 3, RetryBackoffBase: 20 * time.Millisecond, RetryBackoffMax: 200 * time.Millisecond,
		EjectFailures: 5, EjectTime: 5 * time.Second, EjectMaxPercent: 50,
	}
	if got != want {
		t.Errorf("defaults are %+v\nwant %+v", got, want)
	}
}

func TestSettingsDefaultsFollowWhatIsSet(t *testing.T) {
	got, err := Settings{Connections: 6, BackoffBase: time.Minute}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if got.MaxConnections != 6 || got.BackoffMax != time.Minute {
		t.Errorf("maxima are below what is set: %+v", got)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	tests := map[string]struct {
		settings Settings
		want     string
	}{
		"balance":         {Settings{Balance: "random"}, `balance is "random", expected "p2c", "round_robin" or "hash"`},
		"max connections": {Settings{Connections: 3, MaxConnections: 2}, "max connections is 2, expected at least the 3"},
		"connections":     {Settings{Connections: -1}, "connections is -1"},
		"backoff":         {Settings{BackoffBase: time.Second, BackoffMax: time.Millisecond}, "backoff max is 1ms"},
		"drain":           {Settings{DrainTimeout: -1}, "drain timeout is -1ns"},
		"subset":          {Settings{Subset: -1}, "subset is -1, expected a positive number"},
		"subset's key":    {Settings{Subset: 1}, "subset has no key, expected one that tells"},
		"two at once":     {Settings{Linger: -1, ConnectTimeout: -1}, "linger is -1ns"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := open("user.rpc", tt.settings, &manualFeed{}, nil, newRandom(1))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "user.rpc") {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
}
