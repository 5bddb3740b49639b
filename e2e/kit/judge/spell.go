package judge

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Types of bodies.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeEvents = "text/event-stream"
)

// spell writes a request as a client of the document writes it. The gateway reads other spellings,
// too, which docs/http.md names. The document does not list them:
//
//   - no Content-Type, text/json and application/*+json for JSON,
//   - a body that is packed, or that is nothing but white space,
//   - reserved characters of a query that are not encoded, and slashes in a parameter of the path.
func spell(r *http.Request, o *Operation, params map[string]string, body []byte) (*http.Request, []byte, error) {
	body, err := unpack(r.Header.Get("Content-Encoding"), body)
	if err != nil {
		return nil, nil, err
	}
	target := &url.URL{Scheme: "http", Host: r.URL.Host, RawQuery: spellQuery(r.URL.RawQuery)}
	if target.Path, err = url.PathUnescape(o.fill(params)); err != nil {
		return nil, nil, err
	}
	target.RawPath = o.fill(params)
	out, err := http.NewRequestWithContext(context.Background(), r.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Content-Encoding")
	if len(body) == 0 || isJSON(r.Header.Get("Content-Type")) && len(bytes.TrimSpace(body)) == 0 {
		out.Body, out.ContentLength = http.NoBody, 0
		return out, nil, nil
	}
	if isJSON(r.Header.Get("Content-Type")) {
		out.Header.Set("Content-Type", typeJSON)
	}
	return out, body, nil
}

func isJSON(contentType string) bool {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	return mediaType == "" || mediaType == typeJSON || mediaType == "text/json" ||
		strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json")
}

func unpack(coding string, body []byte) ([]byte, error) {
	var r io.Reader
	switch coding {
	case "gzip":
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r = zr
	case "zstd":
		zr, err := zstd.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		defer zr.Close()
		r = zr
	default:
		return body, nil
	}
	return io.ReadAll(r)
}

// spellQuery encodes what a client may leave as it is, such as the colons of a time.
func spellQuery(query string) string {
	if query == "" {
		return ""
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 == nil && err2 == nil {
			parts[i] = url.QueryEscape(n) + "=" + url.QueryEscape(v)
		}
	}
	return strings.Join(parts, "&")
}

// values reads JSON values that follow one another. What follows the last whole one is left out
// if the sequence was cut off.
func values(body []byte, cut bool) ([]any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	out := []any{}
	for {
		var value any
		switch err := dec.Decode(&value); {
		case err == io.EOF:
			return out, nil
		case err != nil && cut:
			return out, nil
		case err != nil:
			return out, fmt.Errorf("value %d: %w", len(out)+1, err)
		}
		out = append(out, value)
	}
}

// event is a server-sent event.
type event struct{ id, kind, data string }

// events reads server-sent events. Comments are left out, and so is an event that was cut off.
func events(body []byte) []event {
	var out []event
	whole := strings.Split(string(body), "\n\n")
	for _, text := range whole[:len(whole)-1] {
		var e event
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			value = strings.TrimPrefix(value, " ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data += value
			}
		}
		if e.data != "" {
			out = append(out, e)
		}
	}
	return out
}
