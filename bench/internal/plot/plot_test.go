package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	svg := Figure{
		Title:  "a < b",
		Legend: []string{"one", "two"},
		Panels: []Panel{
			{Title: "first", Bars: []Bar{{Label: "x", Parts: []float64{1, 3}, Text: "4 µs"}, {Label: "none", Parts: nil, Text: "0"}}},
			{Title: "second"},
			{Title: "third", Bars: []Bar{{Label: "y", Parts: []float64{2}}}},
		},
	}.SVG()
	for dec := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	for _, want := range []string{"a &lt; b", "4 µs", `width="50.0"`, `width="150.0"`, `width="200.0"`} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
}
