package frontend

import (
	"maps"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"
)

const challengeKey = "Www-Authenticate"

// Challenge makes sure that a 401 says how to authenticate, as RFC 9110 asks in section 15.5.2.
// What is in the header already counts. Otherwise it is Bearer, which is what most gRPC services
// take. It does nothing for another status. Call it when the header is complete.
func Challenge(h http.Header, status int) {
	if status == http.StatusUnauthorized && !hasChallenge(h) {
		h[challengeKey] = []string{"Bearer"}
	}
}

func hasChallenge(h http.Header) bool {
	for _, v := range h[challengeKey] {
		if strings.TrimSpace(v) != "" {
			return true
		}
	}
	return false
}

// WriteErrorHeader writes the metadata of a call that failed before anything was sent to the
// client, whose answer has this HTTP status. It returns the trailer metadata that the header does
// not have.
//
// A service that has sent nothing else sends the metadata of an error as trailers
// ("Trailers-Only"). That is the only way of grpc-java. Some services send a header without
// metadata before. Nothing has been sent to the client in both cases, so for the client the
// metadata becomes the header. A challenge belongs into the header of a 401 even if there is other
// metadata in it.
func (o *Options) WriteErrorHeader(h http.Header, call *Call, status int) (trailer metadata.MD) {
	header, trailer := call.Header(), call.Trailer()
	switch {
	case o.TrailersAsHeaders:
		o.WriteTrailerHeader(h, trailer)
		trailer = nil
	case !o.hasHeader(header):
		header, trailer = withoutType(trailer), nil
	}
	o.WriteHeader(h, header)
	if status != http.StatusUnauthorized || hasChallenge(h) {
		return trailer
	}
	for name, values := range trailer {
		if as, _, ok := o.ResponseMetadata.target(name); ok && as == "www-authenticate" {
			o.add(h, challengeKey, as, values)
		}
	}
	return trailer
}

// withoutType returns the metadata without the content type. In a Trailers-Only response, grpc-go
// leaves the one of HTTP among the trailers. It is no metadata of the service, so a rule for all
// metadata must not give it another name.
func withoutType(md metadata.MD) metadata.MD {
	if _, ok := md["content-type"]; !ok {
		return md
	}
	md = maps.Clone(md)
	delete(md, "content-type")
	return md
}

// hasHeader reports whether WriteHeader would write anything.
func (o *Options) hasHeader(md metadata.MD) bool {
	for name := range md {
		if as, _, ok := o.ResponseMetadata.target(name); ok && validKey(as) {
			return true
		}
	}
	return false
}
