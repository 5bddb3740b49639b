package module

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/schema"
)

// descriptorFiles are the descriptor sets of a catalog by the service that each describes. A file
// describes the service that it is named after: /etc/schemas/user.rpc.binpb is for user.rpc.
type descriptorFiles map[string]string

// findDescriptorFiles finds the files that match the patterns, and checks those that nobody follows
// yet. It is empty if the descriptors are not files.
func findDescriptorFiles(ctx context.Context, d *Descriptors) (descriptorFiles, error) {
	files := make(descriptorFiles)
	if d == nil || d.Source != DescriptorsProtoset {
		return files, nil
	}
	for _, pattern := range d.Files {
		found, err := filepath.Glob(pattern)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", pattern, err)
		case len(found) == 0:
			return nil, fmt.Errorf("%s: expected files that are named after services, such as user.rpc.binpb, found none", pattern)
		}
		for _, file := range found {
			if err := files.add(ctx, file); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

func (f descriptorFiles) add(ctx context.Context, file string) error {
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	other, twice := f[name]
	switch {
	case name == "":
		return fmt.Errorf("%s: expected the name of a service before the last dot of the file's name", file)
	case other == file:
		return nil
	case twice:
		return fmt.Errorf("%s and %s: expected one file for the service %s", other, file, name)
	}
	f[name] = file
	if _, known := schemas.References(schemaKey(*ofFile(file), "")); known {
		return nil // As in prepare: one that is being rewritten now must not refuse a config.
	}
	ctx, cancel := context.WithTimeout(ctx, fileLoadTimeout)
	defer cancel()
	_, err := schema.Protoset(file).Load(ctx)
	return err
}

func ofFile(file string) *Descriptors {
	return &Descriptors{Source: DescriptorsProtoset, Files: []string{file}}
}

// acquireSchema takes a reference on the schema of a service: by the file that is named after it,
// or else by reflection. Of a name with slashes, the part after the last one counts.
func (c *catalog) acquireSchema(service string, channel *sharedChannel, log *zap.Logger) (*sharedSchema, error) {
	if len(c.files) == 0 {
		return acquireSchema(context.Background(), c.descriptors, channel, log)
	}
	if file, ok := c.files[path.Base(service)]; ok {
		s, err := acquireSchema(context.Background(), ofFile(file), channel, log)
		if err == nil {
			return s, nil
		}
		c.log.Error("cannot read the descriptors of a service; trying reflection", zap.String("service", service), zap.Error(err))
	}
	return acquireSchema(context.Background(), nil, channel, log)
}

// validateForCatalog says which descriptors a catalog cannot have.
func (d *Descriptors) validateForCatalog() error {
	if d != nil && d.Source == DescriptorsProto {
		return errors.New("descriptors proto cannot be set, because the files would describe every service; " +
			"descriptors protoset takes files that are named after services")
	}
	return nil
}
