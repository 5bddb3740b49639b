package module

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Fields says how clients of plain HTTP ask for parts of an answer. They give a list of paths, such
// as `name,author.email`. The other fields are left out. A path that does not exist gets 400.
type Fields struct {
	// The name of the query parameter that has the paths. A field of the request message with the
	// same name wins, and then only the header works. Default: fields.
	Parameter string `json:"parameter,omitempty"`

	// Whether the header X-Goog-FieldMask can have the paths, too. All answers then say so in Vary.
	// Default: true.
	Header *bool `json:"header,omitempty"`
}

const defaultFieldsParameter = "fields"

// Validate says what is wrong with the settings.
func (f *Fields) Validate() error {
	if f == nil || f.Parameter == "" {
		return nil
	}
	return ValidateFieldsParameter(f.Parameter)
}

// ValidateFieldsParameter says what is wrong with Fields.Parameter.
func ValidateFieldsParameter(name string) error {
	bad := func(c rune) bool {
		return c != '_' && c != '-' && c != '.' && c != '$' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	switch {
	case name == "" || strings.ContainsFunc(name, bad):
		return fmt.Errorf("parameter %q: expected letters, digits and - _ . $", name)
	case name == "$alt" || name == "$prettyPrint":
		return fmt.Errorf("parameter %q: it has another meaning", name)
	}
	return nil
}

// ValidateHiddenField says what is wrong with a name of Handler.HideFields.
func ValidateHiddenField(name string) error { return routes.CheckHiddenField(name) }

// compile returns the settings as the protocols have them. They are nil if f is.
func (f *Fields) compile() *frontend.Fields {
	if f == nil {
		return nil
	}
	return &frontend.Fields{
		Parameter: cmp.Or(f.Parameter, defaultFieldsParameter),
		Header:    f.Header == nil || *f.Header,
	}
}

// hiding returns the options of a transcoder whose messages do not have the fields. Handlers that
// hide the same fields share codecs, so the order and repetitions do not count.
func hiding(opts transcode.Options, fields []string) transcode.Options {
	names := slices.Sorted(slices.Values(fields))
	opts.Hidden = strings.Join(slices.Compact(names), " ")
	return opts
}
