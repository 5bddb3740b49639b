package judge

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What Results counts.
const (
	Requests       = "requests that the gateway accepted"
	Refused        = "requests that the gateway refused"
	Answers        = "answers"
	Messages       = "messages of streams"
	CutOff         = "answers that were cut off"
	notDescribed   = "not described: "
	excused        = "excused: "
	calledWrong    = "refused requests that are wrong for "
	wrongForNobody = "refused requests that are wrong for nobody"
)

// Results are what the judges say about the calls of a test. Each judge sees each call.
type Results struct {
	mu     sync.Mutex
	counts map[string]int
	wrong  []string
	// parent gets what this one gets.
	parent *Results
}

// Child returns results of their own, whose counts also go to res.
func (res *Results) Child() *Results { return &Results{parent: res} }

func (res *Results) count(what string, n int) {
	for r := res; r != nil; r = r.parent {
		r.mu.Lock()
		if r.counts == nil {
			r.counts = make(map[string]int)
		}
		r.counts[what] += n
		r.mu.Unlock()
	}
}

// Count is how often something was counted.
func (res *Results) Count(what string) int {
	res.mu.Lock()
	defer res.mu.Unlock()
	return res.counts[what]
}

// String lists the counts.
func (res *Results) String() string {
	res.mu.Lock()
	defer res.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(res.counts)) {
		fmt.Fprintf(&b, "%6d %s\n", res.counts[what], what)
	}
	return b.String()
}

// notef keeps a disagreement.
func (res *Results) notef(format string, args ...any) {
	res.mu.Lock()
	defer res.mu.Unlock()
	res.wrong = append(res.wrong, fmt.Sprintf(format, args...))
}

// Wrong returns the disagreements.
func (res *Results) Wrong() []string {
	res.mu.Lock()
	defer res.mu.Unlock()
	return slices.Clone(res.wrong)
}

// Report fails the test for every disagreement.
func (res *Results) Report(t testing.TB) {
	t.Helper()
	all := res.Wrong()
	for _, text := range all[:min(len(all), 25)] {
		t.Errorf("the document and the gateway disagree: %s", text)
	}
	if len(all) > 25 {
		t.Errorf("and %d more", len(all)-25)
	}
}

// judge judges a call.
func (res *Results) judge(d *Document, x *exchange) {
	op, params, others := d.Find(x.request.Method, x.request.URL.EscapedPath())
	if op == nil && x.request.Method == http.MethodHead {
		op, params, others = d.Find(http.MethodGet, x.request.URL.EscapedPath())
	}
	if op == nil {
		res.undescribed(x, others)
		return
	}
	c, err := read(op, params, x)
	if err != nil {
		if x.status < http.StatusBadRequest {
			res.notef("%s: it was accepted: %v", x, err)
		}
		res.count(notDescribed+"a request that cannot be unpacked", 1)
		return
	}
	res.request(d, c, x)
	if x.request.Method == http.MethodHead {
		res.count(notDescribed+"HEAD, as an answer", 1)
		return
	}
	res.answer(d, c, x)
}

// undescribed looks at a call of what the document does not describe. It must not have worked.
func (res *Results) undescribed(x *exchange, others []string) {
	kind, fine := "an unknown path", x.status == http.StatusNotFound || x.status == http.StatusServiceUnavailable
	switch {
	case x.request.Header.Get("Upgrade") != "":
		kind, fine = "a WebSocket", true
	case len(others) > 0 && x.request.Method == http.MethodOptions:
		kind, fine = "OPTIONS", x.status == http.StatusNoContent || x.status == http.StatusForbidden
	case len(others) > 0 && !slices.Contains(known, x.request.Method):
		kind, fine = "a method without a word in OpenAPI 3.1", true
	case len(others) > 0:
		kind, fine = "another method", x.status == http.StatusMethodNotAllowed
	}
	res.count(notDescribed+kind, 1)
	if !fine {
		res.notef("%s: it is served, but not described (%s)", x, kind)
	}
}

var known = []string{
	http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodHead, http.MethodPatch, http.MethodTrace,
}

// read puts a call into the form in which it is judged.
func read(op *Operation, params map[string]string, x *exchange) (*Call, error) {
	sent, wholeRequest := x.sent.state()
	request, body, err := spell(x.request, op, params, sent)
	if err != nil {
		return nil, err
	}
	request.Method = op.Method
	got, whole := x.got.state()
	c := &Call{Operation: op, Params: params, Request: request, RequestBody: body, Status: x.status, Header: x.header, Body: got, Cut: !whole}
	if slices.Contains(op.bodies, typeNDJSON) && len(body) > 0 {
		items, err := values(body, !wholeRequest)
		if err != nil {
			items = []any{err.Error()} // Nothing that a message could be.
		}
		if _, isArray := first(items).([]any); len(items) != 1 || !isArray {
			c.RequestItems = items
		}
	}
	if mediaType, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); c.Status < 300 && slices.Contains(op.answers, typeNDJSON) {
		switch mediaType {
		case typeNDJSON:
			c.Streams = true
			if c.AnswerItems, err = values(got, c.Cut); err != nil {
				c.AnswerItems = []any{err.Error()}
			}
		case typeEvents:
			c.Streams = true
			c.AnswerItems = eventItems(got)
		}
	}
	return c, nil
}

func first(items []any) any {
	if len(items) == 0 {
		return nil
	}
	return items[0]
}

// request judges the request. A request that the gateway has refused, or that is a stream that has
// not ended, may be wrong.
func (res *Results) request(d *Document, c *Call, x *exchange) {
	refused := slices.Contains([]int{400, 403, 406, 413, 415}, c.Status)
	wrong := 0
	for _, j := range d.Judges {
		err := j.Request(c)
		if err == nil && c.RequestItems != nil {
			err = j.Items(c, SideRequest, typeNDJSON, c.RequestItems)
		}
		switch {
		case err == nil:
		case refused:
			res.count(calledWrong+j.Name(), 1)
			wrong++
		case res.excuses(j, c, SideRequest, err):
		default:
			res.notef("%s: %s finds the request wrong: %v", x, j.Name(), err)
		}
	}
	switch {
	case !refused:
		res.count(Requests, 1)
	default:
		res.count(Refused, 1)
		if wrong == 0 {
			res.count(wrongForNobody, 1)
		}
	}
}

// answer judges the answer.
func (res *Results) answer(d *Document, c *Call, x *exchange) {
	if c.Cut && !c.Streams {
		res.count(CutOff, 1)
		return
	}
	for _, j := range d.Judges {
		err := j.Answer(c)
		if err == nil && c.Streams {
			err = j.Items(c, SideAnswer, typeNDJSON, c.AnswerItems)
		}
		if err != nil && !res.excuses(j, c, SideAnswer, err) {
			res.notef("%s: %s finds the answer wrong: %v", x, j.Name(), err)
		}
	}
	res.count(Answers, 1)
	res.count(Messages, len(c.AnswerItems)+len(c.RequestItems))
}

// eventItems are the messages of server-sent events as lines of NDJSON, which is how the document
// describes them. The last event of a stream that has failed has a Status for its data.
func eventItems(body []byte) []any {
	items := []any{}
	for _, e := range events(body) {
		data, err := values([]byte(e.data), false)
		switch {
		case e.kind == "end":
		case err != nil || len(data) != 1:
			items = append(items, "no JSON: "+e.data)
		case e.kind == "error":
			items = append(items, map[string]any{"error": data[0]})
		default:
			items = append(items, data[0])
		}
	}
	return items
}
