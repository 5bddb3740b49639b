package protovalidate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/checks"
)

// BenchmarkPrepare measures what a schema costs when it is loaded: without rules, and per field
// with a rule of a kind.
func BenchmarkPrepare(b *testing.B) {
	const fields = 100
	for name, rule := range map[string]string{
		"none":       "",
		"native":     "[(buf.validate.field).string.min_len = 1]",
		"expression": `[(buf.validate.field).cel = { id: "x" expression: "this.size() > %d" }]`,
	} {
		b.Run(name, func(b *testing.B) {
			var text strings.Builder
			text.WriteString("message M {\n")
			for i := range fields {
				of := rule
				if strings.Contains(rule, "%d") {
					of = fmt.Sprintf(rule, i)
				}
				fmt.Fprintf(&text, "string f%d = %d %s;\n", i, i+1, of)
			}
			text.WriteString("}\n")
			s := compileSchema(b, "", text.String())
			m := s.Method("test.v1.S/M").Desc
			b.ReportAllocs()
			for b.Loop() {
				check, problems := newSchemaChecks(checks.Schema{Files: s.Files()}, newGate()).Method(m)
				if (check == nil) != (rule == "") || len(problems) > 0 {
					b.Fatal(check, problems)
				}
			}
		})
	}
}
