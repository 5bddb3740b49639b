package rest

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// bindFields makes the answer have only the parts that the client asks for. The parameter and the
// header together say which. Paths are those of what the client sees. So if the route has a
// response_body, they begin there.
func (x *exchange) bindFields() error {
	text := x.fields
	if x.opts.Fields.Header {
		for _, line := range x.r.Header[frontend.FieldsHeader] {
			text = joinMasks(text, line)
		}
	}
	if text == "" {
		return nil
	}
	if x.responseIsRaw() {
		return badFields("the answer is raw content, which has no fields")
	}
	if f := x.responseBody; f != nil {
		masked, err := f.Mask(text)
		if err != nil {
			return badFields(reason(err))
		}
		x.responseBody, x.partial = masked, true
		return nil
	}
	masked, err := x.codec.Mask(text)
	if err != nil {
		return badFields(reason(err))
	}
	x.codec, x.partial = masked, true
	return nil
}

func badFields(why string) error { return frontend.Errorf(codes.InvalidArgument, "fields: %s", why) }

// joinMasks joins two lists of paths. An empty one names nothing.
func joinMasks(a, b string) string {
	switch b = strings.TrimSpace(b); {
	case b == "":
		return a
	case a == "":
		return b
	default:
		return a + "," + b
	}
}

// varyByFields tells caches that FieldsHeader makes another answer.
func (x *exchange) varyByFields(h http.Header) {
	if o := x.opts.Fields; o != nil && o.Header {
		h.Add("Vary", frontend.FieldsHeader)
	}
}
