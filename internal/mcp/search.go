package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The tools by which others are found, described and called, in place of a list of all.
const (
	searchMethods  = "search_methods"
	describeMethod = "describe_method"
	callMethod     = "call_method"
)

// Limits of search_methods.
const (
	defaultFound = 10
	maxFound     = 50
	maxQuery     = 1000 // bytes
	// maxSummary is how many bytes of a description are found. describe_method has the rest.
	maxSummary = 200
)

const (
	searchSchema = `{"type":"object","properties":{"query":{"type":"string","maxLength":1000,` +
		`"description":"Words that say what you want to do. Empty: all methods, by name."},` +
		`"limit":{"type":"integer","minimum":1,"maximum":50,"default":10,"description":"How many methods to return."},` +
		`"offset":{"type":"integer","minimum":0,"default":0,"description":"How many methods to skip."}},` +
		`"additionalProperties":false}`
	foundSchema = `{"type":"object","properties":{"methods":{"type":"array","items":{"type":"object","properties":{` +
		`"name":{"type":"string"},"description":{"type":"string"},"readOnly":{"type":"boolean"}},` +
		`"required":["name","description","readOnly"]}},"total":{"type":"integer"}},"required":["methods","total"]}`
	describeSchema = `{"type":"object","properties":{"name":{"type":"string",` +
		`"description":"The name of a method, as search_methods has it."}},"required":["name"],"additionalProperties":false}`
	callSchema = `{"type":"object","properties":{"name":{"type":"string",` +
		`"description":"The name of a method, as search_methods has it."},"arguments":{"type":"object",` +
		`"description":"What the method is called with, by its inputSchema."}},"required":["name"],"additionalProperties":false}`
)

// addSearch adds the tools by which others are found.
func (b *toolbox) addSearch() {
	no := false
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true, IdempotentHint: true, DestructiveHint: &no}
	b.server.AddTool(&mcp.Tool{
		Name:        searchMethods,
		Description: fmt.Sprintf("Finds methods that can be called, among %d. Begin here.", len(b.tools)),
		InputSchema: json.RawMessage(searchSchema), OutputSchema: json.RawMessage(foundSchema), Annotations: readOnly,
	}, b.search)
	b.server.AddTool(&mcp.Tool{
		Name: describeMethod, Description: "Describes a method: what it does, and the schemas of its arguments and of its result.",
		InputSchema: json.RawMessage(describeSchema), Annotations: readOnly,
	}, b.describe)
	calls := *readOnly
	for _, t := range b.tools {
		calls.ReadOnlyHint = calls.ReadOnlyHint && t.def.Annotations.ReadOnlyHint
		calls.IdempotentHint = calls.IdempotentHint && t.def.Annotations.IdempotentHint
	}
	destructive := !calls.ReadOnlyHint
	calls.DestructiveHint = &destructive
	b.server.AddTool(&mcp.Tool{
		Name: callMethod, Description: "Calls a method. Use describe_method before the first call.",
		InputSchema: json.RawMessage(callSchema), Annotations: &calls,
	}, b.callByName)
}

// found is one result of search_methods.
type found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	ReadOnly    bool   `json:"readOnly"`
}

// search is the tool search_methods.
func (b *toolbox) search(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	var in struct {
		Query         string
		Limit, Offset int
	}
	if err := arguments(req, &in); err != nil {
		return nil, err
	}
	if len(in.Query) > maxQuery {
		return nil, invalidParams("query: expected at most %d bytes", maxQuery)
	}
	hits := b.find(in.Query)
	total := len(hits)
	hits = hits[min(max(in.Offset, 0), total):]
	limit := in.Limit
	if limit <= 0 {
		limit = defaultFound
	}
	hits = hits[:min(limit, maxFound, len(hits))]
	out := struct {
		Methods []found `json:"methods"`
		Total   int     `json:"total"`
	}{make([]found, 0, len(hits)), total}
	for _, t := range hits {
		out.Methods = append(out.Methods, found{t.def.Name, summary(t.def.Description), t.readOnly})
	}
	return structured(out)
}

// describe is the tool describe_method.
func (b *toolbox) describe(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	var in struct{ Name string }
	if err := arguments(req, &in); err != nil {
		return nil, err
	}
	t, err := b.lookup(in.Name)
	if err != nil {
		return nil, err
	}
	return structured(t.def)
}

// callByName is the tool call_method.
func (b *toolbox) callByName(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	var in struct {
		Name      string
		Arguments json.RawMessage
	}
	if err := arguments(req, &in); err != nil {
		return nil, err
	}
	t, err := b.lookup(in.Name)
	if err != nil {
		return nil, err
	}
	return callTool(ctx, t, in.Arguments)
}

func (b *toolbox) lookup(name string) (*tool, error) {
	if t := b.byName[name]; t != nil {
		return t, nil
	}
	return nil, invalidParams("there is no method %.100q; search_methods has their names", name)
}

// arguments decodes the arguments of a tool of the gateway itself.
func arguments(req *mcp.CallToolRequest, into any) error {
	if len(req.Params.Arguments) == 0 {
		return nil
	}
	if err := json.Unmarshal(req.Params.Arguments, into); err != nil {
		return invalidParams("arguments: %s", err)
	}
	return nil
}

func invalidParams(format string, args ...any) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf(format, args...)}
}

// structured is a result that is a JSON object, with the same JSON as text.
func structured(value any) (*mcp.CallToolResult, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(raw)}}, StructuredContent: json.RawMessage(raw)}, nil
}

// summary is the beginning of a description.
func summary(text string) string {
	text, _, _ = strings.Cut(text, "\n\n")
	if len(text) <= maxSummary {
		return text
	}
	return strings.ToValidUTF8(text[:maxSummary], "") + "…"
}

// searchable are the words by which a tool is found, in lower case.
type searchable struct {
	name  []string // the words of its name and of its method
	text  []string // the words of its description
	names string   // its names as they are
}

func newSearchable(name, method, description string) searchable {
	return searchable{name: words(name + " " + method), text: words(description), names: strings.ToLower(name + " " + method)}
}

// words splits a text into words in lower case. GetUserByID has four.
func words(text string) []string {
	var out []string
	runes := []rune(text)
	start := 0
	cut := func(end int) {
		if end > start {
			out = append(out, strings.ToLower(string(runes[start:end])))
		}
		start = end
	}
	for i, c := range runes {
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			cut(i)
			start = i + 1
		case unicode.IsUpper(c) && i > start &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			cut(i)
		}
	}
	cut(len(runes))
	return out
}

// Weights of a word that is found.
const (
	weightWhole  = 8 // The query is a part of the names as they are.
	weightName   = 4
	weightPrefix = 2 // A word of the name begins with it, or it begins with the word.
	weightText   = 1
)

// find returns the tools that have words of the query, the best first. An empty query finds all.
func (b *toolbox) find(query string) []*tool {
	asked := words(query)
	if len(asked) == 0 {
		return b.tools
	}
	whole := strings.ToLower(strings.TrimSpace(query))
	type hit struct {
		*tool

		score int
	}
	var hits []hit
	for _, t := range b.tools {
		if score := t.words.score(asked, whole); score > 0 {
			hits = append(hits, hit{t, score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	out := make([]*tool, len(hits))
	for i, h := range hits {
		out[i] = h.tool
	}
	return out
}

func (s *searchable) score(asked []string, whole string) int {
	score := 0
	if strings.Contains(s.names, whole) {
		score += weightWhole
	}
	for _, word := range asked {
		switch {
		case slices.Contains(s.name, word):
			score += weightName
		case slices.ContainsFunc(s.name, func(n string) bool { return related(n, word) }):
			score += weightPrefix
		case slices.ContainsFunc(s.text, func(n string) bool { return n == word || related(n, word) }):
			score += weightText
		}
	}
	return score
}

// related reports whether one word begins with the other, as `user` and `users` do.
func related(a, b string) bool {
	const least = 3
	return min(len(a), len(b)) >= least && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}
