package judge

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Document is an OpenAPI document as the judges have read it.
type Document struct {
	Judges     []Judge
	Operations []*Operation
	// Pending are the upstreams whose operations are not in it yet.
	Pending []string
}

// Operation is an operation of a document.
type Operation struct {
	Path, Method string
	// GRPC is the name of the RPC, and Streams is "server", "client", "both" or "".
	GRPC, Streams string

	bodies, answers []string // media types of the request, and of answers with a status of success

	pattern  *regexp.Regexp // matches an escaped path
	params   []string
	literals int // bytes of the path that are no parameters
}

type withContent struct{ Content map[string]any }

// New reads a document. Answers are judged by a closed form of it: a member that the document does
// not name is an error. Otherwise a judge would accept any answer from which the document has left
// out something.
func New(raw []byte) (*Document, error) {
	var doc struct {
		Pending []string `json:"x-pending"`
		Paths   map[string]map[string]struct {
			GRPC        string      `json:"x-grpc-method"`
			Streams     string      `json:"x-grpc-stream"`
			Template    string      `json:"x-grpc-path-template"`
			RequestBody withContent `json:"requestBody"`
			Responses   map[string]withContent
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	d := &Document{Pending: doc.Pending}
	for path, item := range doc.Paths {
		for method, op := range item {
			o := &Operation{Path: path, Method: strings.ToUpper(method), GRPC: op.GRPC, Streams: op.Streams}
			o.bodies = slices.Collect(maps.Keys(op.RequestBody.Content))
			for status, answer := range op.Responses {
				if strings.HasPrefix(status, "2") {
					o.answers = slices.AppendSeq(o.answers, maps.Keys(answer.Content))
				}
			}
			o.compile(strings.Contains(op.Template, "**"))
			d.Operations = append(d.Operations, o)
		}
	}
	closed, err := closeAnswers(raw)
	if err != nil {
		return nil, err
	}
	for _, read := range []func([]byte) (Judge, error){readKin, readLib} {
		j, err := read(closed)
		if err != nil {
			return nil, err
		}
		d.Judges = append(d.Judges, j)
	}
	return d, nil
}

// closeAnswers forbids members without a name in the messages of answers. Requests have
// descriptions of their own that end in "-input". A message that may have extensions is left open.
func closeAnswers(raw []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	components, _ := doc["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	for name, value := range schemas {
		schema, _ := value.(map[string]any)
		if _, described := schema["properties"]; !described || strings.HasSuffix(name, "-input") {
			continue
		}
		if input, ok := schemas[name+"-input"].(map[string]any); ok && input["additionalProperties"] == nil {
			continue
		}
		if schema["additionalProperties"] == nil {
			schema["additionalProperties"] = false
		}
	}
	closed, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}
	return closed, nil
}

// compile makes the pattern of an operation. deep says that the last parameter may have slashes,
// for which OpenAPI has no words.
func (o *Operation) compile(deep bool) {
	var pattern strings.Builder
	pattern.WriteString("^")
	rest := o.Path
	last := strings.LastIndexByte(rest, '{')
	for {
		literal, after, found := strings.Cut(rest, "{")
		pattern.WriteString(regexp.QuoteMeta(literal))
		o.literals += len(literal)
		if !found {
			break
		}
		name, next, _ := strings.Cut(after, "}")
		o.params = append(o.params, name)
		if deep && len(o.Path)-len(after)-1 == last {
			pattern.WriteString("(.*)")
		} else {
			pattern.WriteString("([^/]+)")
		}
		rest = next
	}
	o.pattern = regexp.MustCompile(pattern.String() + "$")
}

// Find finds the operation of a request. If there are several, the one with the most literal text
// is meant, as the gateway does it. others are the methods of the path if there is none for this
// one.
func (d *Document) Find(method, escapedPath string) (op *Operation, params map[string]string, others []string) {
	for _, o := range d.Operations {
		match := o.pattern.FindStringSubmatch(escapedPath)
		switch {
		case match == nil:
			continue
		case o.Method != method:
			others = append(others, o.Method)
			continue
		case op != nil && op.literals >= o.literals:
			continue
		}
		op, params = o, make(map[string]string)
		for i, name := range o.params {
			value, err := url.PathUnescape(match[i+1])
			if err != nil {
				value = match[i+1]
			}
			params[name] = value
		}
	}
	return op, params, others
}

// fill puts the values of the parameters into the path, as a client of the document does it.
func (o *Operation) fill(params map[string]string) string {
	path := o.Path
	for _, name := range o.params {
		path = strings.Replace(path, "{"+name+"}", url.PathEscape(params[name]), 1)
	}
	return path
}
