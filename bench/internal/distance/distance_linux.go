// Package distance puts round-trip time between two processes of this machine, as netem does, which
// not every kernel has: a network device whose packets come back to the machine half a round trip
// later with their addresses swapped. Who connects to Far reaches what listens on Near. All is real
// TCP of the kernel: handshakes, acknowledgements and windows take their time as over a network.
package distance

import (
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Near and Far are the addresses, of the range that RFC 2544 keeps for benchmarks.
const (
	Near = "198.18.0.1"
	Far  = "198.18.0.2"
)

// Line is the device. It goes with the process.
type Line struct {
	device *os.File
	oneWay atomic.Int64
	done   chan struct{}
}

// Open makes the device, for which it must be root, with no delay.
func Open() (*Line, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	const name = "bench0"
	var request struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], name)
	request.flags = syscall.IFF_TUN | syscall.IFF_NO_PI
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("make the device %s: %w", name, errno)
	}
	l := &Line{device: os.NewFile(uintptr(fd), name), done: make(chan struct{})}
	for _, args := range [][]string{{"addr", "add", Near + "/24", "dev", name}, {"link", "set", name, "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			l.device.Close()
			return nil, fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	go l.run()
	return l, nil
}

// SetRTT sets the round-trip time of packets to come.
func (l *Line) SetRTT(d time.Duration) { l.oneWay.Store(int64(d / 2)) }

// Close removes the device.
func (l *Line) Close() {
	l.device.Close()
	<-l.done
}

type packet struct {
	bytes []byte
	due   time.Time
}

// run takes packets until the device is closed.
func (l *Line) run() {
	defer close(l.done)
	queue := make(chan packet, 1<<14)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for p := range queue {
			time.Sleep(time.Until(p.due))
			_, _ = l.device.Write(p.bytes)
		}
	}()
	for {
		buf := make([]byte, 2048)
		n, err := l.device.Read(buf)
		if err != nil {
			break
		}
		if n < 20 || buf[0]>>4 != 4 {
			continue // Not IPv4: the kernel asks for IPv6 neighbours.
		}
		var source [4]byte
		copy(source[:], buf[12:16])
		copy(buf[12:16], buf[16:20]) // The checksums are sums of words, and do not mind.
		copy(buf[16:20], source[:])
		queue <- packet{buf[:n], time.Now().Add(time.Duration(l.oneWay.Load()))}
	}
	close(queue)
	<-written
}
