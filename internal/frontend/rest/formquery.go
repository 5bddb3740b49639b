package rest

import (
	"bytes"
	"net/http"
	"net/url"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// isURLEncoded reports whether the body is a form of the type application/x-www-form-urlencoded.
func isURLEncoded(h http.Header) bool {
	f, ok := formType(h)
	return ok && f.boundary == ""
}

// formToQuery makes the body of a binding without a body a part of the query, if it is an
// application/x-www-form-urlencoded form. Its parameters come before those of the URL. See
// frontend.Options.FormsToQuery.
func (x *exchange) formToQuery() error {
	if x.takesBody() || x.body.Ended() || !isURLEncoded(x.r.Header) {
		return nil
	}
	body, err := x.readBody()
	if err != nil {
		return err
	}
	defer frontend.PutBuffer(body)
	if n := bytes.Count(*body, []byte("&")); n >= maxFormParts {
		return badForm("more than %d parts", maxFormParts)
	}
	query := string(*body)
	if x.r.URL.RawQuery != "" {
		query += "&" + x.r.URL.RawQuery
	}
	// The request is everybody's, and the log shows its URL.
	x.r = x.r.WithContext(x.r.Context())
	x.r.URL = &url.URL{Path: x.r.URL.Path, RawPath: x.r.URL.RawPath, RawQuery: query}
	return nil
}
