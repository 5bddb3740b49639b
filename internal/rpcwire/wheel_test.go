package rpcwire

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Every call ends at most one tick after its deadline, and never before it.
func TestWheel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		var w wheel
		ch := make(chan struct{}, 1)
		w.start, w.fire = time.Now(), func() { ch <- struct{}{} }
		ended := make(map[*Call]time.Time)
		due := make(map[*Call]time.Time)
		expire := func(call *Call) {
			w.remove(call)
			ended[call] = time.Now()
		}
		time.Sleep(time.Duration(random.Int64N(int64(time.Hour))))
		for range 1000 {
			switch random.IntN(4) {
			case 0:
				time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
			case 1:
				for call := range due { // any
					w.remove(call)
					w.remove(call)
					delete(due, call)
					break
				}
			default:
				call := new(Call)
				in := time.Duration(random.Int64N(int64(time.Second) << random.IntN(6)))
				if random.IntN(20) == 0 {
					in = 0
				}
				due[call] = time.Now().Add(in)
				w.add(call, due[call], time.Now())
			}
			synctest.Wait()
			select {
			case <-ch:
				w.advance(time.Now(), expire)
			default:
			}
			checkWheel(t, due, ended)
		}
		for len(due) > 0 {
			<-ch
			w.advance(time.Now(), expire)
			checkWheel(t, due, ended)
		}
		if w.armed != 0 || w.used != [wheelSlots / 64]uint64{} {
			t.Error("the empty wheel has its timer set, or slots in use")
		}
		w.stop()
	})
}

func checkWheel(t *testing.T, due, ended map[*Call]time.Time) {
	t.Helper()
	for call, at := range ended {
		want, known := due[call]
		// The test sleeps up to 30 ms between two looks at the timer.
		if late := at.Sub(want); !known || late < 0 || late > 2*wheelTick+30*time.Millisecond {
			t.Fatalf("a call ended %s after its deadline (known: %t)", at.Sub(want), known)
		}
		delete(due, call)
		delete(ended, call)
	}
	for _, at := range due {
		if late := time.Since(at); late > 2*wheelTick+30*time.Millisecond {
			t.Fatalf("a call goes on %s after its deadline", late)
		}
	}
}

// A wheel that runs by itself is precise.
func TestWheelIsPrecise(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, in := range []time.Duration{1, time.Millisecond, wheelTick, wheelTick + 1, time.Second, wheelSlots * wheelTick, wheelSlots*wheelTick + 1, time.Minute, time.Hour} {
			var w wheel
			var mu sync.Mutex
			var ended time.Time
			w.start = time.Now().Add(-12345678)
			w.fire = func() {
				mu.Lock()
				defer mu.Unlock()
				w.advance(time.Now(), func(call *Call) {
					w.remove(call)
					ended = time.Now()
				})
			}
			begun := time.Now()
			mu.Lock()
			w.add(new(Call), begun.Add(in), begun)
			mu.Unlock()
			time.Sleep(in + 2*wheelTick)
			mu.Lock()
			if late := ended.Sub(begun) - in; late < 0 || late > wheelTick {
				t.Errorf("after %s a call ended %s late", in, late)
			}
			mu.Unlock()
		}
	})
}

func TestWheelWithDeadlinesFarAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var w wheel
		w.start, w.fire = time.Now(), func() {}
		call := new(Call)
		w.add(call, time.Unix(math.MaxInt32*100, 0), time.Now())
		time.Sleep(time.Hour)
		w.advance(time.Now(), func(*Call) { t.Error("the call has ended") })
		w.remove(call)
		w.stop()
	})
}
