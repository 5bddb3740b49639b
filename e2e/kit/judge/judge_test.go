package judge

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// canned answers every request with the same.
type canned struct {
	status            int
	contentType, body string
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return &http.Response{
		StatusCode: c.status, Header: http.Header{"Content-Type": {c.contentType}}, Body: io.NopCloser(strings.NewReader(c.body)), Request: r,
	}, nil
}

// call is a call that is as the document says.
type call struct {
	request, body string
	answer        canned
}

var (
	book   = call{"GET /v1/books/x", "", canned{200, typeJSON, `{"name":"x","title":"T","pages":"7","genre":"NOVEL"}`}}
	create = call{"POST /v1/shelves/1/books", `{"title":"T","pages":7,"tags":["a"]}`, canned{200, typeJSON, `{}`}}
	list   = call{"GET /v1/shelves/1/books?page_size=5&pageToken=x&genre=POETRY", "", canned{200, typeJSON, `{"books":[]}`}}
	failed = call{"GET /v1/books/x", "", canned{404, typeJSON, `{"code":5,"message":"no","details":[{"@type":"t","x":1}]}`}}
	lines  = call{"GET /v1/stream/2", "", canned{200, typeNDJSON, `{"number":1}` + "\n" + `{"error":{"code":5,"message":"no"}}` + "\n"}}
	sse    = call{"GET /v1/stream/2", "", canned{200, typeEvents, "id: 1\ndata: {\"number\":1}\n\nevent: error\ndata: {\"code\":5,\"message\":\"no\"}\n\n"}}
	array  = call{"GET /v1/stream/2", "", canned{200, typeJSON, `[{"number":1},{"number":2}]`}}
	upload = call{"POST /v1/collect", `{"text":"a"}` + "\n" + `{"text":"b"}`, canned{200, typeJSON, `{"text":"a,b"}`}}
)

// TestJudgesComplain changes a document, or a call. Both judges must notice. Without this, a judge
// that is used in a wrong way could be content with everything.
func TestJudgesComplain(t *testing.T) {
	const schemas = "components/schemas/gateway.test.v1."
	for name, tc := range map[string]struct {
		calls  []call
		at     string // what is changed in the document, as a path
		to     any    // nil: it is removed
		wrong  string // what both judges find wrong. "": nothing
		nobody bool   // the complaint is not that of a judge
	}{
		"nothing is changed": {calls: []call{book, create, list, failed, lines, sse, array, upload}},

		"a member of the answer has another type":   {calls: []call{book}, at: schemas + "Book/properties/title/type", to: "integer", wrong: "answer"},
		"a member of the answer is missing":         {calls: []call{book}, at: schemas + "Book/properties/title", wrong: "answer"},
		"a member of the answer has another format": {calls: []call{book}, at: schemas + "Book/properties/pages/pattern", to: "^x", wrong: "answer"},
		"a name of an enum is missing":              {calls: []call{book}, at: schemas + "Genre/anyOf/0/enum", to: []any{"POETRY"}, wrong: "answer"},
		"a member of the request has another type":  {calls: []call{create}, at: schemas + "Book-input/properties/title/type", to: "integer", wrong: "request"},
		"a member of the request is missing":        {calls: []call{create}, at: schemas + "Book-input/properties/tags", wrong: "request"},
		"a parameter has another type":              {calls: []call{list}, at: "paths/~1v1~1shelves~1{parent_1}~1books/get/parameters/2/schema", to: map[string]any{"type": "boolean"}, wrong: "request"},
		"a parameter is required":                   {calls: []call{{"GET /v1/shelves/1/books", "", list.answer}}, at: "paths/~1v1~1shelves~1{parent_1}~1books/get/parameters/2/required", to: true, wrong: "request"},
		"an answer has another type of body":        {calls: []call{book}, at: "paths/~1v1~1books~1{name}/get/responses/200/content", to: map[string]any{"application/xml": map[string]any{}}, wrong: "answer"},
		"a request has another type of body":        {calls: []call{create}, at: "paths/~1v1~1shelves~1{parent_1}~1books/post/requestBody/content", to: map[string]any{"application/xml": map[string]any{}}, wrong: "request"},
		"a status is missing":                       {calls: []call{book}, at: "paths/~1v1~1books~1{name}/get/responses/200", wrong: "answer"},
		"errors are missing":                        {calls: []call{failed}, at: "paths/~1v1~1books~1{name}/get/responses/default", wrong: "answer"},
		"an error has another form":                 {calls: []call{failed}, at: "components/schemas/google.rpc.Status/properties/code/type", to: "string", wrong: "answer"},
		"a message of a line has another type":      {calls: []call{lines}, at: schemas + "EchoResponse/properties/number/type", to: "string", wrong: "answer"},
		"a message of an event has another type":    {calls: []call{sse}, at: schemas + "EchoResponse/properties/number/type", to: "string", wrong: "answer"},
		"a message of an array has another type":    {calls: []call{array}, at: schemas + "EchoResponse/properties/number/type", to: "string", wrong: "answer"},
		"a message of an upload has another type":   {calls: []call{upload}, at: schemas + "EchoRequest-input/properties/text/type", to: "integer", wrong: "request"},
		"a type of streams is missing":              {calls: []call{lines}, at: "paths/~1v1~1stream~1{count}/get/responses/200/content/application~1x-ndjson", wrong: "answer"},
		"an operation is missing":                   {calls: []call{book}, at: "paths/~1v1~1books~1{name}", wrong: "not described", nobody: true},
		"a method is missing":                       {calls: []call{create}, at: "paths/~1v1~1shelves~1{parent_1}~1books/post", wrong: "not described", nobody: true},

		"an answer without sense":       {calls: []call{{book.request, "", canned{200, typeJSON, `{"name":`}}}, wrong: "answer"},
		"an answer of another status":   {calls: []call{{book.request, "", canned{500, "text/html", `<p>`}}}, wrong: "answer"},
		"an answer without a type":      {calls: []call{{book.request, "", canned{200, "", `{}`}}}, wrong: "answer"},
		"a line without sense":          {calls: []call{{lines.request, "", canned{200, typeNDJSON, "{\n"}}}, wrong: "answer"},
		"a request that was accepted":   {calls: []call{{create.request, `{"title":1}`, create.answer}}, wrong: "request"},
		"another one that was accepted": {calls: []call{{"GET /v1/stream/abc", "", lines.answer}}, wrong: "request"},
		"a refused request is no news":  {calls: []call{{create.request, `{"title":1}`, canned{400, typeJSON, `{"code":3,"message":"no"}`}}}},
		"an unknown path is not served": {calls: []call{{"GET /v9/x", "", canned{404, typeJSON, `{}`}}}},
	} {
		t.Run(name, func(t *testing.T) {
			document, err := New(change(t, tc.at, tc.to))
			if err != nil {
				t.Fatal(err)
			}
			var res Results
			for _, c := range tc.calls {
				c.make(t, &res, document)
			}
			complaints := strings.Join(res.Wrong(), "\n")
			switch {
			case tc.wrong == "" && complaints != "":
				t.Errorf("complaints about what is right:\n%s", complaints)
			case tc.nobody && !strings.Contains(complaints, tc.wrong):
				t.Errorf("no complaint about %q:\n%s", tc.wrong, complaints)
			case tc.wrong != "" && !tc.nobody:
				for _, j := range document.Judges {
					if want := j.Name() + " finds the " + tc.wrong + " wrong"; !strings.Contains(complaints, want) {
						t.Errorf("not said: %s. Instead:\n%s", want, complaints)
					}
				}
			}
		})
	}
}

func (c call) make(t *testing.T, res *Results, document *Document) {
	t.Helper()
	client := &http.Client{Transport: res.Transport(c.answer, func(*http.Request) (*Document, error) { return document, nil })}
	method, path, _ := strings.Cut(c.request, " ")
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	req, err := http.NewRequest(method, "http://gateway.example"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
}

// change returns the document of the test service with one change.
func change(t *testing.T, at string, to any) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../../internal/openapi/testdata/echo-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	if at == "" {
		return raw
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(at, "/")
	for i, step := range steps {
		steps[i] = strings.ReplaceAll(step, "~1", "/")
	}
	place := doc
	for _, step := range steps[:len(steps)-1] {
		place = within(t, place, step)
	}
	object, ok := place.(map[string]any)
	if !ok {
		t.Fatalf("%s is not in an object", at)
	}
	last := steps[len(steps)-1]
	if _, there := object[last]; !there && to == nil {
		t.Fatalf("%s is not there", at)
	}
	object[last] = to
	if to == nil {
		delete(object, last)
	}
	changed, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func within(t *testing.T, value any, step string) any {
	t.Helper()
	switch v := value.(type) {
	case map[string]any:
		if inner, ok := v[step]; ok {
			return inner
		}
	case []any:
		if i := slices.Index([]string{"0", "1", "2", "3"}, step); i >= 0 && i < len(v) {
			return v[i]
		}
	}
	t.Fatalf("%s is not in the document", step)
	return nil
}
