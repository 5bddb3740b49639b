package wire

import (
	"net"
	"syscall"
	"testing"
)

// The system probes idle connections, whether the registry gives an IP address or a name.
func TestDialedConnectionsAreProbed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dialer := NewDialer()
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			for name, option := range map[string]struct{ level, option, want int }{
				"SO_KEEPALIVE":  {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
				"TCP_KEEPIDLE":  {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 30},
				"TCP_KEEPINTVL": {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 10},
				"TCP_KEEPCNT":   {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 3},
			} {
				var got int
				var sysErr error
				if err := raw.Control(func(fd uintptr) { got, sysErr = syscall.GetsockoptInt(int(fd), option.level, option.option) }); err != nil || sysErr != nil {
					t.Fatal(err, sysErr)
				}
				if got != option.want {
					t.Errorf("%s is %d, want %d", name, got, option.want)
				}
			}
		})
	}
}
