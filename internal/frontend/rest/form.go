package rest

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

const (
	typeMultipart  = "multipart/form-data"
	typeURLEncoded = "application/x-www-form-urlencoded"
	// maxFormParts bounds the work that one form can make.
	maxFormParts = 1000
)

// form is what the Content-Type says about a form.
type form struct {
	boundary string // "" for a urlencoded form.
}

// formType reports whether the body is a form.
func formType(h http.Header) (form, bool) {
	media, err := negotiate.ParseContentType(h.Get("Content-Type"))
	if err != nil {
		return form{}, false
	}
	switch media.Type {
	case typeURLEncoded:
		return form{}, true
	case typeMultipart:
		boundary, ok := media.Parameter("boundary")
		return form{boundary}, ok && boundary != ""
	}
	return form{}, false
}

// appendForm reads a form and appends its wire form. Each part is a field of the message that the
// body is bound to, and has the name that a query parameter would have. Text is read like a query
// parameter. A file becomes an HttpBody with its content type, or plain bytes. If the body is bound
// to an HttpBody, the form has exactly one part, which becomes that HttpBody.
func (x *exchange) appendForm(dst []byte, f form) ([]byte, error) {
	body, err := x.readBody()
	if err != nil {
		return dst, err
	}
	defer frontend.PutBuffer(body)
	b := formBinder{x: x}
	if f.boundary == "" {
		return b.urlEncoded(dst, string(*body))
	}
	return b.multipart(dst, multipart.NewReader(bytes.NewReader(*body), f.boundary))
}

// formBinder binds the parts of one form.
type formBinder struct {
	x     *exchange
	bound boundFields
	parts int
}

func (b *formBinder) urlEncoded(dst []byte, body string) ([]byte, error) {
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return dst, badForm("bad percent-encoding in %q", clip(pair))
		}
		if dst, err = b.part(dst, part{name: name, data: []byte(value)}); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (b *formBinder) multipart(dst []byte, r *multipart.Reader) ([]byte, error) {
	for {
		// NextPart would undo a Content-Transfer-Encoding, which RFC 7578 has abolished.
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, badForm("it is not valid %s", typeMultipart)
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return dst, badForm("part %q is incomplete", clip(p.FormName()))
		}
		contentType := p.Header.Get("Content-Type")
		file := p.FileName() != "" || contentType != "" && !strings.HasPrefix(contentType, "text/plain")
		if dst, err = b.part(dst, part{p.FormName(), contentType, file, data}); err != nil {
			return dst, err
		}
	}
}

// part is one field of a form.
type part struct {
	name, contentType string
	file              bool
	data              []byte
}

func (b *formBinder) part(dst []byte, p part) ([]byte, error) {
	if b.parts++; b.parts > maxFormParts {
		return dst, badForm("more than %d parts", maxFormParts)
	}
	if b.x.bodyIsRaw() {
		if b.parts > 1 {
			return dst, badForm("want one part, the content")
		}
		return b.x.appendRaw(dst, p.contentType, p.data), nil
	}
	beside := b.x.binding.BesideBody
	if beside && len(p.data) == 0 && !p.file {
		return dst, nil
	}
	f, problem := b.field(p.name)
	switch {
	case problem == "":
		if problem = b.bound.claim(f); beside {
			problem = "" // The last value counts, as in the query.
		}
	case b.x.opts.QueryPathWins:
		return dst, nil
	}
	if problem != "" {
		return dst, badForm("part %q: %s", clip(p.name), problem)
	}
	switch {
	case isRawField(f):
		return appendContent(dst, f.Path(), p.contentType, p.data), nil
	case f.Descriptor().Kind() == protoreflect.BytesKind && !f.Descriptor().IsMap() && p.file:
		return appendBytes(dst, f.Path(), p.data), nil
	}
	out, err := f.AppendQuery(dst, string(p.data))
	if err != nil {
		return dst, badForm("part %q: %s", clip(p.name), reason(err))
	}
	return out, nil
}

// field finds the field that a part names, inside the message that the body is bound to.
func (b *formBinder) field(name string) (f *transcode.Field, problem string) {
	if name == "" {
		return nil, "it has no name"
	}
	var err error
	if body := b.x.binding.Body; body == nil {
		f, err = b.x.method.Request.Field(name)
	} else {
		if !isPlainMessage(body.Descriptor()) {
			return nil, "the body is bound to a field that no form can fill"
		}
		f, err = body.Field(name)
	}
	if err != nil {
		return nil, reason(err)
	}
	return f, ""
}

// appendBytes appends the wire form of a bytes field.
func appendBytes(dst []byte, path []protoreflect.FieldDescriptor, data []byte) []byte {
	last := path[len(path)-1]
	dst = appendOpen(dst, path[:len(path)-1], protowire.SizeTag(last.Number())+protowire.SizeBytes(len(data)))
	dst = protowire.AppendTag(dst, last.Number(), protowire.BytesType)
	return protowire.AppendBytes(dst, data)
}

func badForm(format string, args ...any) error {
	return frontend.Errorf(codes.InvalidArgument, "form: "+format, args...)
}
