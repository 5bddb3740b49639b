package transcode

import (
	"bytes"
	"encoding/base64"
)

// appendBase64 appends the quoted standard encoding of b.
func appendBase64(out, b []byte) []byte {
	out = append(out, '"')
	out = base64.StdEncoding.AppendEncode(out, b)
	return append(out, '"')
}

// base64Encoding returns the encoding that s is written in. Its letters tell the standard alphabet
// from the URL alphabet, and its length tells whether there is padding.
func base64Encoding(s []byte) *base64.Encoding {
	url := bytes.IndexByte(s, '-') >= 0 || bytes.IndexByte(s, '_') >= 0
	switch padded := len(s)%4 == 0; {
	case url && padded:
		return base64.URLEncoding
	case url:
		return base64.RawURLEncoding
	case padded:
		return base64.StdEncoding
	default:
		return base64.RawStdEncoding
	}
}

// bytes reads a base64 string and appends the length of its content and the content.
func (d *decoder) bytes(p int, out []byte) (int, []byte) {
	s, q := d.text(p)
	if q < 0 {
		return q, out
	}
	index := len(d.patches)
	out = d.open(out)
	out, err := base64Encoding(s).AppendDecode(out, s)
	if err != nil {
		return d.fail(p, out, "base64")
	}
	d.close(index, out)
	return q, out
}
