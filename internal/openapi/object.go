package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// object is a JSON object whose members keep their order, so that equal schemas make equal bytes.
type object struct {
	keys   []string
	values map[string]any // string, bool, int, float64, json.RawMessage, list or *object
}

// list is a JSON array.
type list []any

// newObject returns an object of pairs of a name and a value. A value that is nil or "" is left
// out.
func newObject(pairs ...any) *object {
	o := &object{values: make(map[string]any, len(pairs)/2)}
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
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
	return o
}

func (o *object) has(key string) bool {
	_, ok := o.values[key]
	return ok
}

// appendJSON appends the JSON of a value, without white space. Text in it is not escaped for HTML.
func appendJSON(dst []byte, value any) ([]byte, error) {
	var err error
	switch v := value.(type) {
	case *object:
		dst = append(dst, '{')
		for i, key := range v.keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendText(dst, key); err != nil {
				return dst, err
			}
			dst = append(dst, ':')
			if dst, err = appendJSON(dst, v.values[key]); err != nil {
				return dst, fmt.Errorf("%s: %w", key, err)
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
	default:
		return appendText(dst, v)
	}
}

func appendText(dst []byte, value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return dst, err
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), nil
}
