package wire

import (
	"bytes"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

func settingsFrame(t testing.TB, settings ...http2.Setting) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := http2.NewFramer(&buf, nil).WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestStreamLimitIsLearntFromTheFirstFrame(t *testing.T) {
	streams := func(n uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n}
	}
	window := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}
	var ping bytes.Buffer
	_ = http2.NewFramer(&ping, nil).WritePing(false, [8]byte{})
	tests := []struct {
		name string
		data []byte
		want uint32
	}{
		{"alone", settingsFrame(t, streams(100)), 100},
		{"among others", settingsFrame(t, window, streams(7), window), 7},
		{"with more after it", append(settingsFrame(t, streams(5)), ping.Bytes()...), 5},
		{"none", settingsFrame(t, window), 0},
		{"empty", settingsFrame(t), 0},
		{"only the first frame counts", append(settingsFrame(t), settingsFrame(t, streams(5))...), 0},
		{"no SETTINGS first", append(ping.Bytes(), settingsFrame(t, streams(5))...), 0},
		{"not HTTP/2", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole, bytewise := streamLimit{limit: new(atomic.Uint32)}, streamLimit{limit: new(atomic.Uint32)}
			whole.read(tt.data)
			for i := range tt.data {
				bytewise.read(tt.data[i : i+1])
			}
			if got := whole.limit.Load(); got != tt.want {
				t.Errorf("limit is %d, want %d", got, tt.want)
			}
			if got := bytewise.limit.Load(); got != tt.want {
				t.Errorf("byte by byte the limit is %d, want %d", got, tt.want)
			}
			if !whole.done || whole.head != nil {
				t.Error("it still holds data")
			}
		})
	}
}

func FuzzStreamLimit(f *testing.F) {
	f.Add(settingsFrame(f, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}), 3)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		whole, parts := streamLimit{limit: new(atomic.Uint32)}, streamLimit{limit: new(atomic.Uint32)}
		whole.read(data)
		if cut = max(0, min(cut, len(data))); cut > 0 {
			parts.read(data[:cut])
		}
		parts.read(data[cut:])
		if whole.limit.Load() != parts.limit.Load() || whole.done != parts.done {
			t.Errorf("whole %d, in parts %d", whole.limit.Load(), parts.limit.Load())
		}
	})
}
