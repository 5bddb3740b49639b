package httprule

import "fmt"

// SyntaxError reports a template that cannot be parsed.
type SyntaxError struct {
	Template string
	// Column is where the mistake begins, in bytes. The first byte is 1.
	Column int
	// Expected is what the parser would have accepted there.
	Expected string
	// Found is what is there, quoted, or "the end".
	Found string
}

// Error gives the column, what was expected there and what was found.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("path template %q, column %d: expected %s, found %s", e.Template, e.Column, e.Expected, e.Found)
}

// Parse parses a path template. An error is a [*SyntaxError].
//
//	Template  = "/" [ Segments [ Verb ] ] ;
//	Segments  = Segment { "/" Segment } ;
//	Segment   = Variable | Part ;
//	Variable  = "{" FieldPath [ "=" Part { "/" Part } ] "}" ;
//	Part      = "*" | "**" | LITERAL ;
//	FieldPath = IDENT { "." IDENT } ;
//	Verb      = ":" LITERAL ;
//	LITERAL   = ( pchar of RFC 3986, but not "*" or ":" ) { … } ;
//	IDENT     = ( letter | "_" ) { letter | digit | "_" } ;
//
// `{a}` is short for `{a=*}`. A variable may occur once. `**` may occur once, and only literals may
// follow it. "/" alone is the root path. Literals and the verb are compared percent-decoded.
//
// Two differences from the grammar of google.api.HttpRule: literals after `**` are an extension,
// which Envoy and grpc-gateway accept too. A variable within a variable is refused: the grammar
// allows it, and the text below the grammar forbids it.
func Parse(template string) (*Template, error) {
	p := parser{scanner: scanner{source: template}, template: &Template{source: template, deep: -1}}
	if err := p.parseTemplate(); err != nil {
		return nil, err
	}
	return p.template, nil
}

type parser struct {
	scanner  scanner
	template *Template
}

func (p *parser) parseTemplate() error {
	if slash := p.scanner.segmentToken(); slash.kind != tokenSlash {
		return p.unexpected(slash, `"/"`)
	}
	if p.scanner.pos == len(p.scanner.source) {
		return nil // the root path
	}
	after, err := p.parseSegments()
	if err != nil {
		return err
	}
	switch after.kind {
	case tokenEnd:
		return nil
	case tokenColon:
		return p.parseVerb()
	}
	return p.unexpected(after, `"/", ":" or the end`)
}

// parseSegments parses segments and returns the token after them.
func (p *parser) parseSegments() (after token, err error) {
	for {
		t := p.scanner.segmentToken()
		if t.kind == tokenOpen {
			err = p.parseVariable()
		} else {
			err = p.parsePart(t, `a literal, "*", "**" or "{"`)
		}
		if err != nil {
			return token{}, err
		}
		if after = p.scanner.segmentToken(); after.kind != tokenSlash {
			return after, nil
		}
	}
}

// parseVariable parses what follows an opening brace.
func (p *parser) parseVariable() error {
	path, after, err := p.parseFieldPath()
	if err != nil {
		return err
	}
	v := variable{path: path, start: len(p.template.segments)}
	switch after.kind {
	case tokenClose:
		// The short form has no token for its `*`. An error about it points to the brace.
		if err := p.addSegment(segment{kind: singleSegment}, after); err != nil {
			return err
		}
	case tokenEquals:
		if err := p.parseParts(); err != nil {
			return err
		}
	default:
		return p.unexpected(after, `".", "=" or "}"`)
	}
	v.end = len(p.template.segments)
	v.multi = v.end-v.start > 1 || p.template.segments[v.start].kind == deepSegment
	p.template.variables = append(p.template.variables, v)
	return nil
}

// parseParts parses the template of a variable, to the closing brace.
func (p *parser) parseParts() error {
	for {
		t := p.scanner.segmentToken()
		expected := `a literal, "*" or "**"`
		if t.kind == tokenOpen {
			expected += " (a variable cannot hold another)"
		}
		if err := p.parsePart(t, expected); err != nil {
			return err
		}
		switch t := p.scanner.segmentToken(); t.kind {
		case tokenClose:
			return nil
		case tokenSlash:
		default:
			return p.unexpected(t, `"/" or "}"`)
		}
	}
}

// parsePart takes a token as one segment.
func (p *parser) parsePart(t token, expected string) error {
	switch t.kind {
	case tokenLiteral:
		return p.addSegment(segment{kind: literalSegment, text: decode(t.text, false)}, t)
	case tokenStar:
		return p.addSegment(segment{kind: singleSegment}, t)
	case tokenDeepStar:
		return p.addSegment(segment{kind: deepSegment}, t)
	}
	return p.unexpected(t, expected)
}

// addSegment appends a segment. Only literals may follow a `**`: with anything else, the router
// would have to try every way to split the path, and several could match.
func (p *parser) addSegment(s segment, at token) error {
	if p.template.deep >= 0 && s.kind != literalSegment {
		return p.unexpected(at, `only literals after "**"`)
	}
	if s.kind == deepSegment {
		p.template.deep = len(p.template.segments)
	}
	p.template.segments = append(p.template.segments, s)
	return nil
}

// parseFieldPath parses a field path and returns it with the token after it.
func (p *parser) parseFieldPath() (path string, after token, err error) {
	start := p.scanner.pos
	for {
		if name := p.scanner.fieldToken(); name.kind != tokenIdent {
			return "", token{}, p.unexpected(name, "a field name")
		}
		path = p.scanner.source[start:p.scanner.pos]
		if after = p.scanner.fieldToken(); after.kind == tokenDot {
			continue
		}
		break
	}
	for _, v := range p.template.variables {
		if v.path == path {
			return "", token{}, p.unexpected(token{kind: tokenIdent, text: path, pos: start}, "each variable only once")
		}
	}
	return path, after, nil
}

// parseVerb parses what follows the colon.
func (p *parser) parseVerb() error {
	verb := p.scanner.segmentToken()
	if verb.kind != tokenLiteral {
		return p.unexpected(verb, "a verb")
	}
	if after := p.scanner.segmentToken(); after.kind != tokenEnd {
		return p.unexpected(after, "the end after the verb")
	}
	p.template.verb = decode(verb.text, false)
	return nil
}

func (p *parser) unexpected(t token, expected string) *SyntaxError {
	switch t.kind {
	case tokenBadEscape:
		expected = `two hexadecimal digits after "%"`
	case tokenForbidden:
		expected += " (other characters must be percent-encoded)"
	}
	return &SyntaxError{Template: p.template.source, Column: t.pos + 1, Expected: expected, Found: t.found()}
}
