// Package plot draws bar charts as SVG.
package plot

import (
	"fmt"
	"html"
	"os"
	"strings"
)

// Bar is a labelled value, made of parts that are drawn one after the other; most have one.
type Bar struct {
	Label string
	Parts []float64
	Text  string // what is written behind the bar
	Ours  bool   // emphasised
}

func (b Bar) length() (sum float64) {
	for _, p := range b.Parts {
		sum += p
	}
	return sum
}

// Panel is one chart. Its bars have a scale of their own, from zero.
type Panel struct {
	Title string
	Bars  []Bar
}

// Figure is a number of panels, in two columns.
type Figure struct {
	Title  string
	Legend []string // of the parts, if there are several
	Panels []Panel
}

const (
	columnWidth = 460
	labelWidth  = 150
	barWidth    = 200
	rowHeight   = 20
	margin      = 20
)

// The colours go well beside each other for those who see fewer colours, too (Okabe and Ito).
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#f0e442"}

const grey = "#b0b6bd"

// SVG draws the figure.
func (f Figure) SVG() string {
	var b strings.Builder
	y := margin + 24
	if len(f.Legend) > 0 {
		y += 24
	}
	for i := 0; i < len(f.Panels); i += 2 {
		rows := 0
		for j, p := range f.Panels[i:min(i+2, len(f.Panels))] {
			p.draw(&b, margin+j*columnWidth, y, len(f.Legend) > 0)
			rows = max(rows, len(p.Bars))
		}
		y += 24 + rows*rowHeight + margin
	}
	width := margin + min(2, len(f.Panels))*columnWidth
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12" fill="#24292f">`+"\n", width, y)
	head += fmt.Sprintf(`<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, y)
	head += text(margin, margin+6, "start", "15", f.Title)
	x := margin
	for i, name := range f.Legend {
		head += fmt.Sprintf(`<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`+"\n", x, margin+18, colours[i%len(colours)])
		head += text(x+17, margin+28, "start", "12", name)
		x += 40 + 7*len(name)
	}
	return head + b.String() + "</svg>\n"
}

func (p Panel) draw(b *strings.Builder, x, y int, coloured bool) {
	b.WriteString(text(x, y+10, "start", "13", p.Title))
	longest := 0.0
	for _, bar := range p.Bars {
		longest = max(longest, bar.length())
	}
	for i, bar := range p.Bars {
		top := y + 22 + i*rowHeight
		b.WriteString(text(x+labelWidth-8, top+11, "end", "12", bar.Label))
		from := float64(x + labelWidth)
		for j, part := range bar.Parts {
			colour := grey
			if coloured {
				colour = colours[j%len(colours)]
			} else if bar.Ours {
				colour = colours[0]
			}
			width := part / max(longest, 1e-9) * barWidth
			fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="14" fill="%s"/>`+"\n", from, top, width, colour)
			from += width
		}
		b.WriteString(text(int(from)+6, top+11, "start", "12", bar.Text))
	}
}

func text(x, y int, anchor, size, s string) string {
	return fmt.Sprintf(`<text x="%d" y="%d" text-anchor="%s" font-size="%s">%s</text>`+"\n", x, y, anchor, size, html.EscapeString(s))
}

// Write draws the figure into a file.
func (f Figure) Write(path string) error {
	return os.WriteFile(path, []byte(f.SVG()), 0o644)
}
