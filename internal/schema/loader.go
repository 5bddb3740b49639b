package schema

import "context"

// Loader reads a schema from one place.
type Loader interface {
	// Load reads everything again.
	Load(ctx context.Context) (*Schema, error)
	// Watch calls changed when what Load reads may have changed, until ctx is done. It blocks.
	Watch(ctx context.Context, changed func())
}
