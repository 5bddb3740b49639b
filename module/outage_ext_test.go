package module_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestDeadEtcdIsAFewLines has fifty services whose etcd is dead. The log says so in two lines: one
// about etcd, and one that nothing is known yet.
func TestDeadEtcdIsAFewLines(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := listener.Addr().String()
	listener.Close()
	var global strings.Builder
	fmt.Fprintf(&global, "grpc_gateway {\n etcd {\n endpoints %s\n }\n", dead)
	for i := range 50 {
		fmt.Fprintf(&global, " upstream s%d {\n discover etcd s%d.rpc\n }\n", i, i)
	}
	global.WriteString("}")
	s := newSite(t)
	s.load(global.String(), "grpc_gateway s0 s1 s2")
	lines := func(level string) []string {
		var found []string
		for line := range strings.Lines(read(t, s.logFile())) {
			if strings.Contains(line, `"level":"`+level+`"`) && strings.Contains(line, "grpc_gateway") {
				found = append(found, line)
			}
		}
		return found
	}
	eventually(t, "the log tells of etcd and of the services", func() bool {
		all := strings.Join(lines("warn"), "")
		return strings.Contains(all, "trouble with etcd") && strings.Contains(all, "the registry has not answered yet")
	})
	if warned := append(lines("warn"), lines("error")...); len(warned) != 2 || strings.Count(strings.Join(warned, ""), `"services":50`) != 2 {
		t.Errorf("%d lines, expected 2 about 50 services:\n%s", len(warned), strings.Join(warned, ""))
	}
	if info := lines("info"); len(info) > 8 {
		t.Errorf("%d lines at INFO:\n%s", len(info), strings.Join(info, ""))
	}
}
