package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// object is a JSON object whose members keep their order, so that equal schemas make equal bytes.
type object struct {
	members []member
	// index has the places of the members by name, if there are many.
	index map[string]int
}

// member is a member of an object. Its value is a string, a bool, a number, a json.RawMessage, a
// list or an *object.
type member struct {
	key   string
	value any
}

// many is the number of members from which on an object has an index. Most objects are small.
const many = 16

// list is a JSON array.
type list []any

// newObject returns an object of pairs of a name and a value. A value that is nil or "" is left
// out.
func newObject(pairs ...any) *object {
	o := &object{members: make([]member, 0, len(pairs)/2)}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.add(pairs[i].(string), pairs[i+1])
	}
	return o
}

// add sets a member, unless the value is nil, "", an empty list or a nil object.
func (o *object) add(key string, value any) *object {
	switch v := value.(type) {
	case nil:
		return o
	case string:
		if v == "" {
			return o
		}
	case list:
		if len(v) == 0 {
			return o
		}
	case *object:
		if v == nil {
			return o
		}
	}
	return o.set(key, value)
}

// set sets a member, whatever its value is.
func (o *object) set(key string, value any) *object {
	if i, ok := o.find(key); ok {
		o.members[i].value = value
		return o
	}
	o.members = append(o.members, member{key, value})
	switch {
	case o.index != nil:
		o.index[key] = len(o.members) - 1
	case len(o.members) == many:
		o.index = make(map[string]int, 2*many)
		for i, m := range o.members {
			o.index[m.key] = i
		}
	}
	return o
}

// drop removes a member of a small object, if it is there.
func (o *object) drop(key string) {
	o.members = slices.DeleteFunc(o.members, func(m member) bool { return m.key == key })
}

func (o *object) find(key string) (int, bool) {
	if o.index != nil {
		i, ok := o.index[key]
		return i, ok
	}
	for i, m := range o.members {
		if m.key == key {
			return i, true
		}
	}
	return 0, false
}

func (o *object) has(key string) bool {
	_, ok := o.find(key)
	return ok
}

// get returns the value of a member, or nil if it is not there.
func (o *object) get(key string) any {
	if i, ok := o.find(key); ok {
		return o.members[i].value
	}
	return nil
}

// appendJSON appends the JSON of a value, without white space. Text in it is not escaped for HTML.
func appendJSON(dst []byte, value any) ([]byte, error) {
	var err error
	switch v := value.(type) {
	case *object:
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(frontend.AppendJSONString(dst, m.key), ':')
			if dst, err = appendJSON(dst, m.value); err != nil {
				return dst, fmt.Errorf("%s: %w", m.key, err)
			}
		}
		return append(dst, '}'), nil
	case list:
		dst = append(dst, '[')
		for i, element := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendJSON(dst, element); err != nil {
				return dst, fmt.Errorf("%d: %w", i, err)
			}
		}
		return append(dst, ']'), nil
	case string:
		return frontend.AppendJSONString(dst, v), nil
	case json.RawMessage:
		var b bytes.Buffer
		if err := json.Compact(&b, v); err != nil {
			return dst, err
		}
		return append(dst, b.Bytes()...), nil
	default:
		raw, err := json.Marshal(v)
		return append(dst, raw...), err
	}
}
