package transcode

import (
	"fmt"
	"strings"
)

// The grammar of a mask follows AIP-157 and AIP-161:
//
//	mask = path { "," path }
//	path = step { "." step }
//	step = name | key | "`" key "`" | "[" extension "]" | "*"
//
// A name is that of a field, in the form of the .proto file or of JSON. A key is one of a map with
// strings or integers as keys. In backticks it may be any text, and two backticks are one. After a
// list come the fields of its elements. "*" is every element of a list, every entry of a map, or,
// at the end of a path, everything. Space around a path does not count.

// maskBuilder reads the text of a mask, and compiles it.
type maskBuilder struct {
	text  string
	start int // where the current path begins
	at    int // where the next step begins
	left  int // how many more fields the compiled mask may have
}

// A maskStep is one step of a path.
type maskStep struct {
	text string
	kind maskStepKind
	last bool // the path ends here
}

type maskStepKind uint8

const (
	stepName maskStepKind = iota
	stepStar
	stepQuoted
	stepExtension
)

// parse calls path for each path of the text.
func (b *maskBuilder) parse(path func() error) error {
	if len(b.text) > maxMaskSize {
		return fmt.Errorf("expected at most %d bytes, found %d", maxMaskSize, len(b.text))
	}
	for {
		b.at += len(b.text[b.at:]) - len(strings.TrimLeft(b.text[b.at:], maskSpace))
		b.start = b.at
		if err := path(); err != nil {
			return err
		}
		// A path ends at a comma or at the end of the text.
		if b.at == len(b.text) {
			return nil
		}
		b.at++
	}
}

const maskSpace = " \t"

// path reads one path and adds it to the node. It begins in a message of type p, or behind the
// field f.
func (b *maskBuilder) path(node *maskNode, p *program, f *field) error {
	for {
		if f != nil {
			switch f.shape {
			case shapeMap:
				next, last, err := b.mapStep(node, f)
				if err != nil || last {
					return err
				}
				node, f = next, f.mapValue
			case shapeList:
				if last, err := b.starStep(); err != nil || last {
					node.all = node.all || last
					return err
				}
			}
			if f.msg == nil || !f.msg.hasParts() {
				return b.expected("the end of the path, because the value has no fields")
			}
			p = f.msg
		}
		step, err := b.step()
		if err != nil {
			return err
		}
		if step.kind == stepStar {
			if !step.last {
				return b.expected("the end of the path after *")
			}
			node.all = true
			return nil
		}
		if f, err = b.lookup(p, step); err != nil {
			return err
		}
		node = node.field(f)
		if step.last {
			node.all = true
			return nil
		}
	}
}

// lookup finds the field that a step names in a message of type p.
func (b *maskBuilder) lookup(p *program, step maskStep) (f *field, err error) {
	if !p.hasParts() {
		return nil, b.expected("nothing, because %s has no fields in JSON", p.md.FullName())
	}
	switch step.kind {
	case stepName:
		f = p.byName([]byte(step.text))
	case stepExtension:
		f, err = p.extensionByName([]byte(step.text))
	}
	if f == nil || err != nil {
		return nil, b.expected("a field of %s, found %q", p.md.FullName(), shorten(step.text))
	}
	return f, nil
}

// starStep reads a "*" behind a list. If there is none, it reads nothing.
func (b *maskBuilder) starStep() (last bool, err error) {
	before := b.at
	step, err := b.step()
	if err == nil && step.kind != stepStar {
		b.at = before
		return false, nil
	}
	return step.last, err
}

// mapStep reads the step behind a map. It returns the node of the values that the step names.
func (b *maskBuilder) mapStep(node *maskNode, f *field) (values *maskNode, last bool, err error) {
	step, err := b.step()
	switch {
	case err != nil:
		return nil, false, err
	case step.kind == stepStar && step.last:
		node.all = true
		return node, true, nil
	case step.kind == stepStar:
		if node.each == nil {
			node.each = new(maskNode)
		}
		return node.each, false, nil
	}
	k := f.mapKey
	switch {
	case step.kind == stepExtension:
		return nil, false, b.expected("a key or * after the map, found %q", shorten(step.text))
	case k.kind == kindString:
		values = node.key(step.text, 0)
	case k.kind == kindBool:
		return nil, false, b.expected("the end of the path or * after a map whose keys are bools")
	default:
		v, ok := parseMapKey([]byte(step.text), k.kind)
		if !ok {
			return nil, false, b.expected("a key of kind %s or *, found %q", k.fd.Kind(), shorten(step.text))
		}
		values = node.key("", k.keyOrder(v))
	}
	values.all = values.all || step.last
	return values, step.last, nil
}

// step reads the next step of the path, and the dot after it.
func (b *maskBuilder) step() (maskStep, error) {
	rest := b.text[b.at:]
	var s maskStep
	var size int
	switch {
	case strings.HasPrefix(rest, "`"):
		s.kind = stepQuoted
		if s.text, size = quotedKey(rest); size < 0 {
			return s, b.expected("a backtick at the end of the key")
		}
	case strings.HasPrefix(rest, "["):
		s.kind = stepExtension
		if size = strings.IndexByte(rest, ']') + 1; size == 0 {
			return s, b.expected("a ] after the name of the extension")
		}
		s.text = rest[1 : size-1]
	default:
		if size = strings.IndexAny(rest, ".,`"); size < 0 {
			size = len(rest)
		}
		s.text = strings.TrimRight(rest[:size], maskSpace)
		if s.text == "" {
			return s, b.expected("a name")
		}
		if s.text == "*" {
			s.kind = stepStar
		}
	}
	rest = strings.TrimLeft(rest[size:], maskSpace)
	b.at = len(b.text) - len(rest)
	switch {
	case rest == "" || rest[0] == ',':
		s.last = true
	case rest[0] == '.':
		b.at++
	default:
		return s, b.expected("a dot or a comma after %q", shorten(s.text))
	}
	return s, nil
}

// quotedKey reads a key in backticks. size is its length with the backticks, or -1 if the last one
// is missing.
func quotedKey(text string) (key string, size int) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] == '`' {
			if i++; i == len(text) || text[i] != '`' {
				return b.String(), i
			}
		}
		b.WriteByte(text[i])
	}
	return "", -1
}

// expected returns the error that says what was expected in the current path.
func (b *maskBuilder) expected(format string, args ...any) error {
	path, _, _ := strings.Cut(b.text[b.start:], ",")
	return fmt.Errorf("path %q: expected %s", shorten(path), fmt.Sprintf(format, args...))
}
