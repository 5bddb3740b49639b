// Package statuspage is the page that shows operators what the gateway does. It is one HTML file
// without anything from elsewhere. It reads the admin API, which is beside it.
package statuspage

import (
	"crypto/sha256"
	_ "embed" // for the files of the page
	"encoding/base64"
	"strings"
)

var (
	//go:embed assets/page.html
	frame string
	//go:embed assets/page.css
	style string
	//go:embed assets/page.js
	script string
)

// Page is the page and its Content-Security-Policy.
type Page struct {
	HTML []byte
	// Policy allows the script and the style of the page, and requests to where it came from.
	Policy string
}

// New puts the page together.
func New() Page {
	html := strings.Replace(frame, "/*css*/", style, 1)
	html = strings.Replace(html, "/*js*/", script, 1)
	return Page{
		HTML: []byte(html),
		Policy: "default-src 'none'; script-src " + source(script) + "; style-src " + source(style) +
			"; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

// source names an inline script or style by its hash.
func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
