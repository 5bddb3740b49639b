package rest

import (
	"bytes"
	"net/url"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// bindQuery appends the wire form of the query parameters. Parameters are separated by `&` only,
// `+` is a space, and a parameter without `=` is one with an empty value.
func (x *exchange) bindQuery(dst []byte) ([]byte, error) {
	q := queryBinder{x: x}
	if b := x.binding; b.Body != nil {
		// What the body may set of a oneof, the query may not set differently.
		_ = q.bound.claim(b.Body)
	}
	for _, v := range x.binding.Vars {
		// Nor what the path sets of one: it comes last, and would drop the other member in silence.
		_ = q.bound.claim(v)
	}
	for raw := range strings.SplitSeq(x.r.URL.RawQuery, "&") {
		if raw == "" {
			continue
		}
		name, value, err := splitParameter(raw)
		if err != nil {
			return dst, err
		}
		if dst, err = q.bind(dst, name, value); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func splitParameter(raw string) (name, value string, err error) {
	name, value, _ = strings.Cut(raw, "=")
	decodedName, err := url.QueryUnescape(name)
	if err != nil {
		return "", "", badParameter(name, "bad percent-encoding in the name")
	}
	decodedValue, err := url.QueryUnescape(value)
	if err != nil {
		return "", "", badParameter(decodedName, "bad percent-encoding in the value")
	}
	if !utf8.ValidString(decodedName) {
		return "", "", badParameter(decodedName, "the name is not UTF-8")
	}
	return decodedName, decodedValue, nil
}

// queryBinder binds the parameters of one query.
type queryBinder struct {
	x     *exchange
	bound boundFields
}

func (q *queryBinder) bind(dst []byte, name, value string) ([]byte, error) {
	b := q.x.binding
	switch {
	case b.BesideBody && value == "":
		return dst, nil
	case b.BodyAll && !b.BesideBody:
		return dst, q.besideBody(name, value)
	}
	f, err := q.x.method.Request.Field(name)
	if err != nil {
		if known, err := q.system(name, value); known {
			return dst, err
		}
		return dst, q.unknown(name, reason(err))
	}
	path := f.Path()
	if b.Body != nil && hasPrefix(path, b.Body.Path()) {
		return dst, q.unknown(name, "the field is taken from the body")
	}
	for i, v := range b.Vars {
		if sameField(path, v.Path()) {
			if q.x.opts.QueryPathWins {
				return dst, nil
			}
			return dst, q.agree(v, name, value, q.x.vars[i])
		}
	}
	// Beside a body that may set any field, the last value counts.
	if problem := q.bound.claim(f); problem != "" && !b.BesideBody {
		return dst, badParameter(name, problem)
	}
	if isUpdateMask(path) {
		q.x.masked = true
	}
	out, err := f.AppendQuery(dst, value)
	if err != nil {
		return dst, badParameter(name, reason(err))
	}
	return out, nil
}

// besideBody is for a parameter of a request that is the body. A raw body takes any: who calls a
// webhook chooses its query, and a method that takes the body as it is has no fields to name.
func (q *queryBinder) besideBody(name, value string) error {
	if known, err := q.system(name, value); known {
		return err
	}
	if q.x.bodyIsRaw() {
		return nil
	}
	return q.unknown(name, "the request is taken from the body, which leaves no field to the query")
}

// system obeys the parameter of Options.Fields, and the system parameters of Google's APIs that its
// REST clients send with each request (https://cloud.google.com/apis/docs/system-parameters). Of
// the latter only their form with a dollar sign is known. A field has such a name only if its
// schema sets it as its JSON name. A field comes first in both cases.
func (q *queryBinder) system(name, value string) (known bool, err error) {
	if o := q.x.opts.Fields; o != nil && name == o.Parameter {
		q.x.fields = joinMasks(q.x.fields, value)
		return true, nil
	}
	switch name {
	case "$prettyPrint":
		return true, nil // Answers are on one line.
	case "$alt":
		format, params, _ := strings.Cut(value, ";")
		switch {
		case format != "json":
		case params == "enum-encoding=int":
			q.x.numberEnums()
			return true, nil
		case params == "":
			return true, nil
		}
		return true, badParameter(name, "expected json or json;enum-encoding=int")
	default:
		return false, nil
	}
}

// agree compares the value of a field that the path gives too. Different texts may be the same
// value, such as 1 and 01.
func (q *queryBinder) agree(f *transcode.Field, name, value, inPath string) error {
	if value == inPath {
		return nil
	}
	fromQuery, err := f.AppendText(nil, value)
	if err != nil {
		return badParameter(name, reason(err))
	}
	fromPath, err := f.AppendText(nil, inPath)
	if err == nil && bytes.Equal(fromQuery, fromPath) {
		return nil
	}
	return badParameter(name, "the path says otherwise")
}

func (q *queryBinder) unknown(name, why string) error {
	if q.x.opts.QueryIgnoreUnknown {
		return nil
	}
	return badParameter(name, why)
}

func badParameter(name, why string) error {
	return frontend.Errorf(codes.InvalidArgument, "query parameter %q: %s", clip(name), why)
}

func isUpdateMask(path []protoreflect.FieldDescriptor) bool {
	return path[0].Name() == "update_mask" && isFieldMask(path[0])
}

func isFieldMask(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == "google.protobuf.FieldMask" && !fd.IsList()
}

// reason is an error of the transcoder as the client may read it: those speak of the input and the
// schema only.
func reason(err error) string { return clip(err.Error()) }
