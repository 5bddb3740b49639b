package module

// Metadata says which headers are passed on. A direction without rules has a default set. For
// requests it is all headers except those that belong to HTTP, the connection or a protocol. For
// responses it is all metadata except reserved names. The last rule that matches a name decides.
type Metadata struct {
	// The request headers that become metadata. Default: the default set.
	Request []MetadataRule `json:"request,omitempty"`

	// The response metadata that becomes headers, and trailers if `trailer` has no rules. Default:
	// the default set.
	Response []MetadataRule `json:"response,omitempty"`

	// The trailer metadata that becomes trailers. Default: the rules of `response`.
	Trailer []MetadataRule `json:"trailer,omitempty"`

	// Where REST clients find trailer metadata. `trailers` (default): in trailers, if the client
	// says `TE: trailers`. `headers`: in the header, for unary answers and for errors before the
	// first byte. Streams have trailers in any case.
	TrailersAs string `json:"trailers_as,omitempty"`
}

// MetadataRule is one rule of Metadata. The config is refused if all names that a rule makes are
// reserved, because the rule could never send anything.
type MetadataRule struct {
	// A name, in which `*` matches any text. `+name` adds it to the default set, and `-name` takes
	// it away. If a rule has no sign, there is no default set, and only names that rules match are
	// passed on. Required.
	Match string `json:"match"`

	// The name to pass it on under, or several names with spaces between them. A `*` is replaced by
	// what the first `*` of `match` matched. Default: the name that it has. Reserved names are
	// refused, such as all that begin with `grpc-`. Only `grpc-metadata-*` and `grpc-trailer-*` are
	// allowed, in responses.
	As string `json:"as,omitempty"`
}
