// Command ratios reads the output of Go benchmarks on standard input, in the form that benchstat
// reads too, and prints how the codec called "ours" compares with each other one: the ratio of the
// medians of all runs, in processor time if the benchmarks report it as cpu-ns/op.
package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	cases, err := parse(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
	if err := printTable(os.Stdout, cases); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// The codecs that ours is compared with, in the order of the columns. For each the table says how
// many times as long it takes, but for sonic, where it says how many times as long ours takes.
var others = []string{"protojson-dynamicpb", "protojson-generated", "protojson-hyperpb"}

const (
	us    = "ours"
	sonic = "sonic-struct"
)

// A case is one benchmark without the codec.
type benchCase struct {
	name   string
	nanos  map[string][]float64 // by codec
	cpu    map[string][]float64 // by codec, if reported
	allocs map[string][]float64 // by codec
}

// parse collects the runs of each case, in the order of first appearance.
func parse(r io.Reader) ([]*benchCase, error) {
	var cases []*benchCase
	byName := map[string]*benchCase{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, codec, ok := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "/codec=")
		if !ok {
			continue
		}
		if at := strings.LastIndexByte(codec, '-'); at > 0 && isNumber(codec[at+1:]) {
			codec = codec[:at] // GOMAXPROCS
		}
		c := byName[name]
		if c == nil {
			c = &benchCase{name: name, nanos: map[string][]float64{}, cpu: map[string][]float64{}, allocs: map[string][]float64{}}
			byName[name], cases = c, append(cases, c)
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("parse %q: %w", lines.Text(), err)
			}
			switch fields[i+1] {
			case "ns/op":
				c.nanos[codec] = append(c.nanos[codec], value)
			case "cpu-ns/op":
				c.cpu[codec] = append(c.cpu[codec], value)
			case "allocs/op":
				c.allocs[codec] = append(c.allocs[codec], value)
			}
		}
	}
	return cases, lines.Err()
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// printTable writes a table with a line for each case.
func printTable(w io.Writer, cases []*benchCase) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "case\truns\tours, ns\tallocs/op\t")
	for _, other := range others {
		fmt.Fprintf(tw, "%s takes\t", other)
	}
	fmt.Fprintf(tw, "ours takes of %s\t\n", sonic)
	for _, c := range cases {
		times := c.cpu
		if len(times) == 0 {
			times = c.nanos
		}
		ours := median(times[us])
		fmt.Fprintf(tw, "%s\t%d\t%.0f\t%.0f\t", c.name, len(times[us]), ours, median(c.allocs[us]))
		for _, other := range others {
			fmt.Fprintf(tw, "%s\t", ratio(median(times[other]), ours))
		}
		fmt.Fprintf(tw, "%s\t\n", ratio(ours, median(times[sonic])))
	}
	return tw.Flush()
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fx", a/b)
}

// median returns zero for no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Clone(values)
	slices.SortFunc(values, cmp.Compare)
	mid := len(values) / 2
	if len(values)%2 == 1 {
		return values[mid]
	}
	return (values[mid-1] + values[mid]) / 2
}
