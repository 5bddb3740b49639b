package module

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/schema"
)

// APIComments says where the comments of the .proto files are. Server reflection carries none.
type APIComments struct {
	// Where the comments come from. Only `protoset` is known, and it is the default.
	Source string `json:"source,omitempty"`

	// Files with a serialised google.protobuf.FileDescriptorSet that has source code info, as `buf
	// build -o` and `protoc --include_source_info --descriptor_set_out` write them. They are
	// followed: when one changes, the document does. If several have a comment on a name, the first
	// one counts. Required.
	Files []string `json:"files,omitempty"`
}

// Validate says what is wrong with the options. It reads no file.
func (c *APIComments) Validate() error {
	switch {
	case c == nil:
		return nil
	case c.Source != "" && c.Source != DescriptorsProtoset:
		return fmt.Errorf("comments %q: expected protoset", c.Source)
	case len(c.Files) == 0:
		return errors.New("comments protoset: expected at least one file")
	}
	return nil
}

// followedComments keeps the comments of files current.
type followedComments struct {
	log     *zap.Logger
	files   *schema.CommentFiles
	current atomic.Pointer[schema.Comments]

	cancel context.CancelFunc // nil before start
	wg     sync.WaitGroup
}

// open reads the files for the first time. It returns nil without the option.
func (c *APIComments) open(log *zap.Logger) (*followedComments, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // Nil has no comments.
	}
	f := &followedComments{log: log, files: schema.NewCommentFiles(c.Files...)}
	first, err := f.files.Load()
	if err != nil {
		return nil, err
	}
	f.current.Store(first)
	return f, nil
}

// get returns the comments in force. It is nil if there are none.
func (f *followedComments) get() *schema.Comments {
	if f == nil {
		return nil
	}
	return f.current.Load()
}

// start follows the files until stop is called.
func (f *followedComments) start() {
	if f == nil || f.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.wg.Go(func() { f.files.Watch(ctx, f.reload) })
}

// stop waits until the files are not followed any more.
func (f *followedComments) stop() {
	if f == nil || f.cancel == nil {
		return
	}
	f.cancel()
	f.wg.Wait()
}

// reload reads the files again. What was read last stays if one of them is broken.
func (f *followedComments) reload() {
	next, err := f.files.Load()
	if err != nil {
		f.log.Warn("the comments for the description of the API could not be read again; those from before stay", zap.Error(err))
		return
	}
	f.current.Store(next)
	f.log.Info("the comments for the description of the API have changed")
}
