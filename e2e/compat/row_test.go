package compat

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// row is one call that the old gateway and ours answer.
type row struct {
	name    string
	call    string // "METHOD path"
	headers string // "Name: value" lines, separated by |
	body    string

	// What both say. Status 0 is 200, and has is part of the body, so that no row is about two
	// refusals that nobody meant.
	status int
	has    string
	// rule says how the answers are compared. The default is byte for byte.
	rule rule

	// A difference that stays has the row of docs/migrating.md that says it, and what each gateway
	// says. Both are checked.
	doc       string
	old, ours *said
	// kept is what ours says with the options of that row's last column, if it has some.
	kept *said
}

// said is what one gateway answers. What is empty is not looked at, but for the status: 0 is 200.
type said struct {
	status int
	body   string // the whole body, without the white space between JSON tokens
	has    string // part of that
	lacks  string // what must not be in that
	// "Name: value" lines, separated by |. A field without a value must be absent.
	header, trailer string
}

// rule is a written rule by which two answers count as equal. Without a rule, status, headers,
// trailers and body are the same bytes.
type rule string

// The rules.
const (
	// compact: the white space between JSON tokens is not compared. protojson puts a space after
	// commas and colons in half of all builds, so that nobody relies on its bytes.
	compact rule = "compact"
	// members: as compact, and the order of an object's members is not compared.
	members rule = "members"
	// numbers: as members, and numbers are compared by their values: 1e+06 is 1000000.
	numbers rule = "numbers"
	// wording: status, headers and code of an error are the same, and the message is in each
	// gateway's own words.
	wording rule = "wording"
	// either: as wording, and the headers are not compared. When a deadline passes, the service and
	// the gateway both say so, and whoever is first decides which headers there are.
	either rule = "either"
)

// unseen are the headers that are not compared: the server's name and clock, and the length, which
// one server writes and the other leaves to chunks.
var unseen = []string{"Date", "Server", "Content-Length"}

// traced are headers that go-zero adds to its answers, with values that differ from call to call.
var traced = []string{"Traceparent", "Tracestate", "Baggage"}

// additions are headers that only this gateway sends, and that change nothing for a client of the
// old one. They are compared if the old gateway sends them, too. The rows "headers of an error" and
// "headers of a stream" show them.
var additions = []string{"Vary", "X-Content-Type-Options", "X-Accel-Buffering"}

// unreadable is the status of an answer that an HTTP client cannot read.
const unreadable = -1

// gateway is one side.
type gateway struct {
	addr    string // where it listens
	backend string // the address of its backend
}

// answer is a response whose body was read.
type answer struct {
	status          int
	header, trailer http.Header
	body            string
	err             error // of reading the body
}

func (a answer) String() string {
	return fmt.Sprintf("%d %.2000q\n\theader %v trailer %v (%v)", a.status, a.body, a.header, a.trailer, a.err)
}

// client sends what it is told to, and nothing of its own.
var client = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do makes the call. Both gateways are asked under one name, because grpc-gateway tells services
// the name that it was asked under.
func (g gateway) do(t *testing.T, r row) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	method, path, _ := strings.Cut(r.call, " ")
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "127.0.0.1:80"
	req.Header.Set("User-Agent", "compat")
	for _, line := range lines(r.headers) {
		name, value, _ := strings.Cut(line, ": ")
		if name == "User-Agent" {
			req.Header.Set(name, value)
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{status: unreadable, err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	for _, name := range unseen {
		resp.Header.Del(name)
	}
	text := strings.ReplaceAll(string(raw), g.backend, "backend:1")
	return answer{resp.StatusCode, resp.Header, resp.Trailer, text, err}
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "|")
}

// compare runs the rows, and counts them.
func compare(t *testing.T, old, ours gateway, rows []row) {
	t.Helper()
	names := make(map[string]bool)
	for _, r := range rows {
		if names[r.name] {
			t.Errorf("two rows are named %s", r.name)
		}
		names[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			theirs, own := old.do(t, r), ours.do(t, r)
			if r.doc != "" {
				r.old.check(t, "the old gateway", theirs)
				r.ours.check(t, "ours", own)
				return
			}
			(&said{status: r.status, has: r.has}).check(t, "the old gateway", theirs)
			if why := differ(r.rule, theirs, own); why != "" {
				t.Errorf("%s\nold:  %s\nours: %s", why, theirs, own)
			}
		})
	}
}

// keep runs the rows that can be kept as they were, on ours with the options that do so.
func keep(t *testing.T, ours gateway, rows []row) {
	t.Helper()
	for _, r := range rows {
		if r.kept != nil {
			t.Run(r.name, func(t *testing.T) { r.kept.check(t, "ours", ours.do(t, r)) })
		}
	}
}

// check reports where an answer is not what was said.
func (s *said) check(t *testing.T, who string, a answer) {
	t.Helper()
	if want := cmp.Or(s.status, http.StatusOK); a.status != want {
		t.Errorf("%s: want status %d, got %s", who, want, a)
	}
	text := compacted(a.body)
	if s.body != "" && text != s.body {
		t.Errorf("%s: want %s, got %s", who, s.body, a)
	}
	if !strings.Contains(text, s.has) {
		t.Errorf("%s: want …%s…, got %s", who, s.has, a)
	}
	if s.lacks != "" && strings.Contains(text, s.lacks) {
		t.Errorf("%s: want no …%s…, got %s", who, s.lacks, a)
	}
	for _, fields := range []struct {
		want string
		got  http.Header
	}{{s.header, a.header}, {s.trailer, a.trailer}} {
		for _, line := range lines(fields.want) {
			name, value, _ := strings.Cut(line, ": ")
			if got := strings.Join(fields.got.Values(name), ", "); got != value {
				t.Errorf("%s: %s: want %q, got %s", who, name, value, a)
			}
		}
	}
}

// differ says how two answers differ under a rule; "" if they do not.
func differ(by rule, a, b answer) string {
	if (a.err == nil) != (b.err == nil) {
		return "one body was cut"
	}
	if a.status != b.status {
		return "the status differs"
	}
	if by == either {
		a.header, b.header = nil, nil
	}
	theirs, own := a.header.Clone(), b.header.Clone()
	for _, name := range traced {
		theirs.Del(name)
	}
	if theirs.Get("Content-Type") == "application/json; charset=utf-8" {
		theirs.Set("Content-Type", "application/json")
	}
	for _, name := range additions {
		if a.header.Values(name) == nil {
			own.Del(name)
		}
	}
	for _, pair := range []struct {
		what string
		a, b http.Header
	}{{"header", theirs, own}, {"trailer", a.trailer, b.trailer}} {
		if !maps.EqualFunc(pair.a, pair.b, slices.Equal[[]string]) {
			return "the " + pair.what + " differs"
		}
	}
	x, y := seen(a.body), seen(b.body)
	if !strings.Contains(x, `"x-forwarded-`) {
		y = lastComma.ReplaceAllString(forwarded.ReplaceAllString(y, ""), "}")
	}
	switch by {
	case compact:
		x, y = compacted(x), compacted(y)
	case members:
		x, y = ordered(x, true), ordered(y, true)
	case numbers:
		x, y = ordered(x, false), ordered(y, false)
	case wording, either:
		x, y = unworded(x), unworded(y)
	}
	if x != y {
		return "the body differs\nold:  " + x + "\nours: " + y
	}
	return ""
}

// What is not compared in the body of an echo: the request metadata that each gRPC client sends in
// its own way, X-Forwarded-Proto, which only this gateway sends (a row of the tables), and how much
// time is left until the deadline.
var (
	transport = regexp.MustCompile(`"(:authority|user-agent|content-type|grpc-accept-encoding|traceparent|x-forwarded-proto)": ?"[^"]*",? ?`)
	// go-zero sends none of these. A row of its own shows them.
	forwarded = regexp.MustCompile(`"x-forwarded-(for|host)": ?"[^"]*",? ?`)
	lastComma = regexp.MustCompile(`, ?}`)
	deadline  = regexp.MustCompile(`"deadlineMs": ?"[1-9][0-9]*"`)
)

func seen(body string) string {
	body = lastComma.ReplaceAllString(transport.ReplaceAllString(body, ""), "}")
	return deadline.ReplaceAllString(body, `"deadlineMs":"soon"`)
}

// compacted takes the white space between the tokens of each line's JSON away.
func compacted(body string) string {
	var out strings.Builder
	for line := range strings.Lines(body) {
		var b bytes.Buffer
		if text, ended := strings.CutSuffix(line, "\n"); json.Compact(&b, []byte(text)) == nil {
			out.Write(b.Bytes())
			if ended {
				out.WriteByte('\n')
			}
			continue
		}
		out.WriteString(line)
	}
	return out.String()
}

// ordered writes each line's JSON with sorted members. exactly keeps the spelling of numbers.
func ordered(body string, exactly bool) string {
	var out strings.Builder
	for line := range strings.Lines(body) {
		d := json.NewDecoder(strings.NewReader(line))
		if exactly {
			d.UseNumber()
		}
		var v any
		if err := d.Decode(&v); err != nil {
			out.WriteString(line)
			continue
		}
		text, _ := json.Marshal(v)
		out.Write(append(text, '\n'))
	}
	return out.String()
}

// unworded takes the message out of an error in JSON. An error in text is nothing else.
func unworded(body string) string {
	var status map[string]any
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		return ""
	}
	if inner, ok := status["error"].(map[string]any); ok {
		status = inner
	}
	delete(status, "message")
	text, _ := json.Marshal(status)
	return string(text)
}

// packed is text in gzip.
func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	w.Close()
	return b.String()
}
