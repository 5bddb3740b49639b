package frontend

import (
	"encoding/base64"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// DefaultRequestRules are the rules without any config: all request headers become metadata except
//
//   - those of the connection (RFC 9110, section 7.6.1), Host, Expect and Sec-WebSocket-*,
//   - those about the body or the answer (Content-*, Accept*),
//   - those of the RPC protocols (Grpc-*, Connect-*),
//   - X-Request-Timeout, which became the deadline, and User-Agent, which gRPC sets itself.
func DefaultRequestRules() *Rules {
	return &Rules{implied: impliedRequest, refused: refusedRequest}
}

// DefaultResponseRules are the rules without any config: all metadata becomes headers except
//
//   - that of the connection (RFC 9110, section 7.6.1),
//   - that about the body (Content-Type, Content-Length, Content-Encoding),
//   - that of the server (Date, Server),
//   - that of gRPC (grpc-*).
func DefaultResponseRules() *Rules {
	return &Rules{implied: impliedResponse, refused: refusedResponse}
}

func impliedRequest(name string) bool {
	switch name {
	case "host", "expect", "x-request-timeout", "user-agent":
		return false
	}
	return !hopByHop(name) && !hasAnyPrefix(name, "content-", "grpc-", "connect-", "accept", "sec-websocket-")
}

// refusedRequest reports whether no rule can make the name a metadata key. gRPC sends these fields
// itself: it would drop a value of the client's, or the value would break the call. The whole
// prefix "grpc-" is reserved (gRPC over HTTP/2, "Custom-Metadata").
func refusedRequest(name string) bool {
	switch name {
	case "te", "content-type", "content-length", "user-agent", "host",
		"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return strings.HasPrefix(name, "grpc-")
}

func impliedResponse(name string) bool {
	return name != "date" && name != "server" && !strings.HasPrefix(name, "grpc-")
}

// refusedResponse reports whether no rule can make the name a response header. Names that begin
// with "grpc-" belong to gRPC and gRPC-Web, except two kinds that grpc-gateway has made common for
// metadata in REST answers.
func refusedResponse(name string) bool {
	switch name {
	case "content-type", "content-length", "content-encoding":
		return true
	}
	return hopByHop(name) ||
		strings.HasPrefix(name, "grpc-") && !hasAnyPrefix(name, "grpc-metadata-", "grpc-trailer-")
}

// hopByHop reports whether a header belongs to one connection only (RFC 9110, section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
		"te", "trailer", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return false
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// appendMetadata appends the metadata that the request rules make of the request's headers, and
// X-Forwarded-For, -Host and -Proto as reverse_proxy sets them: names and values alternately.
// Values that gRPC cannot carry (other than printable ASCII) are dropped. The error is a *Error: a
// binary header (-bin) is not base64.
func (o *Options) appendMetadata(pairs []string, r *http.Request) ([]string, error) {
	pairs = o.appendForwarded(pairs, r)
	forwarded := pairs
	listed := connectionListed(r.Header["Connection"])
	for key, values := range r.Header {
		name := lowerName(key)
		if isForwarded(name) || !validKey(name) || listed[name] {
			continue
		}
		as, also, ok := o.RequestMetadata.target(name)
		if !ok {
			continue
		}
		if name == "cookie" {
			values = withoutCookieAttributes(values)
		}
		for {
			if !isForwarded(as) || !slices.Contains(forwarded, as) {
				var err error
				if pairs, err = appendValues(pairs, key, as, values); err != nil {
					return nil, err
				}
				if len(pairs)/2 > maxValues {
					return nil, errManyValues()
				}
			}
			if len(also) == 0 {
				break
			}
			as, also = also[0], also[1:]
		}
	}
	return pairs, nil
}

// appendValues appends the values as gRPC carries them: printable ASCII as it is, and -bin decoded.
// Other values are dropped.
func appendValues(pairs []string, header, as string, values []string) ([]string, error) {
	if strings.HasSuffix(as, "-bin") {
		return appendBinary(pairs, header, as, values)
	}
	for _, v := range values {
		if validValue(v) {
			pairs = append(pairs, as, v)
		}
	}
	return pairs, nil
}

// appendBinary decodes base64 with or without padding. One header may hold several values,
// separated by commas.
func appendBinary(pairs []string, header, as string, values []string) ([]string, error) {
	for _, joined := range values {
		for v := range strings.SplitSeq(joined, ",") {
			raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(v), "="))
			if err != nil {
				return nil, Errorf(codes.InvalidArgument, "header %s: want base64", header).WithCause(err)
			}
			pairs = append(pairs, as, string(raw))
			if len(pairs)/2 > maxValues {
				return nil, errManyValues()
			}
		}
	}
	return pairs, nil
}

// maxValues is how many metadata values the headers of a request may become. Each costs time and
// memory here and at the instance, and a byte or two is enough to make one.
const maxValues = 4096

func errManyValues() *Error {
	return Errorf(codes.ResourceExhausted, "the headers of the request have more than %d values", maxValues).
		WithHTTP(http.StatusRequestHeaderFieldsTooLarge)
}

// WriteHeader adds the metadata to a response header by the response rules.
func (o *Options) WriteHeader(h http.Header, md metadata.MD) {
	o.writeHeader(h, md, o.ResponseMetadata)
}

// WriteTrailerHeader adds trailer metadata to a response header, by the rules for trailers.
func (o *Options) WriteTrailerHeader(h http.Header, md metadata.MD) {
	o.writeHeader(h, md, o.trailerRules())
}

func (o *Options) writeHeader(h http.Header, md metadata.MD, rules *Rules) {
	for name, values := range md {
		as, also, ok := rules.target(name)
		for ok {
			if validKey(as) {
				o.add(h, textproto.CanonicalMIMEHeaderKey(as), as, values)
			}
			if ok = len(also) > 0; ok {
				as, also = also[0], also[1:]
			}
		}
	}
}

// trailerRules are the rules for trailers.
func (o *Options) trailerRules() *Rules {
	if o.TrailerMetadata != nil {
		return o.TrailerMetadata
	}
	return o.ResponseMetadata
}

// WriteTrailer adds the metadata to the trailers of a response by the rules for trailers. The
// header of the response must have been written, or must be written without a Content-Length. Call
// it only for clients that want trailers, see WantsTrailers.
func (o *Options) WriteTrailer(h http.Header, md metadata.MD) {
	rules := o.trailerRules()
	for name, values := range md {
		as, also, ok := rules.target(name)
		for ok {
			if validKey(as) && allowedTrailer(as) {
				o.add(h, http.TrailerPrefix+textproto.CanonicalMIMEHeaderKey(as), as, values)
			}
			if ok = len(also) > 0; ok {
				as, also = also[0], also[1:]
			}
		}
	}
}

// HasTrailer reports whether WriteTrailer would write anything.
func (o *Options) HasTrailer(md metadata.MD) bool {
	rules := o.trailerRules()
	for name := range md {
		as, also, ok := rules.target(name)
		for ok {
			if validKey(as) && allowedTrailer(as) {
				return true
			}
			if ok = len(also) > 0; ok {
				as, also = also[0], also[1:]
			}
		}
	}
	return false
}

func (o *Options) add(h http.Header, key, name string, values []string) {
	binary := strings.HasSuffix(name, "-bin")
	for _, v := range values {
		switch {
		case binary:
			h[key] = append(h[key], base64.RawStdEncoding.EncodeToString([]byte(v)))
		case validValue(v):
			h[key] = append(h[key], v)
		}
	}
}

// allowedTrailer reports whether a field may be a trailer. Fields that say how to handle the
// message may not (RFC 9110, section 6.5.1).
func allowedTrailer(name string) bool {
	switch name {
	case "authorization", "cache-control", "set-cookie", "content-range", "host", "max-forwards", "www-authenticate", "age", "expires", "location",
		"retry-after", "vary", "warning":
		return false
	}
	return !strings.HasPrefix(name, "if-")
}

// WantsTrailers reports whether the client said `TE: trailers`.
func WantsTrailers(h http.Header) bool {
	for _, v := range h["Te"] {
		for part := range strings.SplitSeq(v, ",") {
			if coding, _, _ := strings.Cut(part, ";"); strings.EqualFold(strings.TrimSpace(coding), "trailers") {
				return true
			}
		}
	}
	return false
}

// validKey reports whether gRPC takes the name as a metadata key (in lower case).
func validKey(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// validValue reports whether the value is printable ASCII, which is all that a metadata value may
// have.
func validValue(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}

// withoutCookieAttributes drops what old clients send with cookies: $Version, $Path, $Domain and
// $Port (RFC 2965).
func withoutCookieAttributes(values []string) []string {
	if !strings.Contains(strings.Join(values, ""), "$") {
		return values
	}
	out := make([]string, 0, len(values))
	for _, v := range values {
		var kept []string
		for pair := range strings.SplitSeq(v, ";") {
			if pair = strings.TrimSpace(pair); pair != "" && pair[0] != '$' {
				kept = append(kept, pair)
			}
		}
		if len(kept) > 0 {
			out = append(out, strings.Join(kept, "; "))
		}
	}
	return out
}

// DropConnectionNames removes the headers that Connection names, and their names there. Names that
// can never become metadata stay, because the connection or the body needs them.
//
// It is called before a policy runs. A header that Connection names is for this hop only, and is
// not passed on. Without this a client could name a header that the policy is about to set, such as
// X-User, and the service would be called without it.
func DropConnectionNames(h http.Header) {
	listed := connectionListed(h["Connection"])
	if listed == nil {
		return
	}
	kept := []string{}
	for _, v := range h["Connection"] {
		for token := range strings.SplitSeq(v, ",") {
			token = strings.TrimSpace(token)
			name := strings.ToLower(token)
			if name == "close" || hopByHop(name) || isForwarded(name) || strings.HasPrefix(name, "content-") {
				kept = append(kept, token)
			} else if token != "" {
				h.Del(token)
			}
		}
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// connectionListed returns the names, in lower case, of the headers that the values of Connection
// declare to be for this hop only. It is nil, without an allocation, for the values that nearly all
// requests have.
func connectionListed(values []string) map[string]bool {
	var names map[string]bool
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			name = strings.TrimSpace(name)
			if name == "" || strings.EqualFold(name, "close") || strings.EqualFold(name, "keep-alive") {
				continue
			}
			if names == nil {
				names = make(map[string]bool)
			}
			names[strings.ToLower(name)] = true
		}
	}
	return names
}

// lowerName is strings.ToLower. It does not allocate for the headers that nearly every request has.
func lowerName(key string) string {
	switch key {
	case "Accept":
		return "accept"
	case "Accept-Encoding":
		return "accept-encoding"
	case "Accept-Language":
		return "accept-language"
	case "Authorization":
		return "authorization"
	case "Cache-Control":
		return "cache-control"
	case "Connection":
		return "connection"
	case "Content-Length":
		return "content-length"
	case "Content-Type":
		return "content-type"
	case "Cookie":
		return "cookie"
	case "Origin":
		return "origin"
	case "Referer":
		return "referer"
	case "Traceparent":
		return "traceparent"
	case "User-Agent":
		return "user-agent"
	case "X-Forwarded-For":
		return "x-forwarded-for"
	case "X-Forwarded-Host":
		return "x-forwarded-host"
	case "X-Forwarded-Proto":
		return "x-forwarded-proto"
	case "X-Request-Id":
		return "x-request-id"
	}
	return strings.ToLower(key)
}
