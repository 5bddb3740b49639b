package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxSourceErrors is the maximum number of errors of .proto sources that are reported at once.
const maxSourceErrors = 10

// ProtoFiles returns a loader of .proto sources. Imports are looked for in importPaths, in their
// order, then among the common files (google/protobuf, google/api, google/rpc), which need not be
// there. A file is named by its path below an import path, as protoc does it. Without import paths,
// the directory of each file is one. The schema exposes the services that the files themselves
// declare, except gRPC's own, and not those of the files that they import.
//
// Watch follows the files and all that they import.
//
// Errors have file:line:column as the compiler gives them.
func ProtoFiles(files, importPaths []string) Loader {
	return &protoFiles{paths: files, importPaths: importPaths, tracker: newTracker()}
}

type protoFiles struct {
	paths, importPaths []string
	tracker            *tracker
}

// Watch implements Loader.
func (p *protoFiles) Watch(ctx context.Context, changed func()) { p.tracker.watch(ctx, changed) }

// Load implements Loader.
func (p *protoFiles) Load(ctx context.Context) (*Schema, error) {
	if len(p.paths) == 0 {
		return nil, errors.New("compile .proto files: no file is given")
	}
	read := p.tracker.begin()
	defer read.end()
	roots := p.importPaths
	if len(roots) == 0 {
		for _, path := range p.paths {
			if dir := filepath.Dir(path); !slices.Contains(roots, dir) {
				roots = append(roots, dir)
			}
		}
	}
	names := make([]string, len(p.paths))
	for i, path := range p.paths {
		name, err := importName(read, path, roots)
		if err != nil {
			return nil, fmt.Errorf("compile .proto files: %w", err)
		}
		names[i] = name
	}
	s, err := compile(ctx, read, names, roots)
	if err != nil {
		return nil, fmt.Errorf("compile .proto files: %w", err)
	}
	if len(s.services) == 0 {
		return nil, fmt.Errorf("%s: they declare no service except gRPC's own", quoted(p.paths))
	}
	return s, nil
}

func compile(ctx context.Context, read *reading, names, roots []string) (*Schema, error) {
	var problems []error
	compiler := protocompile.Compiler{
		Resolver:       sourceResolver(read, roots),
		SourceInfoMode: protocompile.SourceInfoStandard, // for the comments
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			problems = append(problems, err)
			if len(problems) >= maxSourceErrors {
				return err
			}
			return nil
		}, nil),
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	compiled, err := compiler.Compile(ctx, names...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if err != nil {
		return nil, err
	}
	a := newAssembly()
	for _, fd := range compiled {
		if err := a.addCompiled(fd); err != nil {
			return nil, err
		}
	}
	var services []string
	for _, fd := range compiled {
		for i := range fd.Services().Len() {
			services = append(services, string(fd.Services().Get(i).FullName()))
		}
	}
	return a.buildNamed(services)
}

// sourceResolver finds imports: first sources, then the common files, then those of the compiler.
func sourceResolver(read *reading, roots []string) protocompile.Resolver {
	return protocompile.WithStandardImports(protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
		for _, root := range roots {
			raw, err := read.file(filepath.Join(root, filepath.FromSlash(name)))
			if err == nil {
				return protocompile.SearchResult{Source: bytes.NewReader(raw)}, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return protocompile.SearchResult{}, err
			}
		}
		if fd := standardFile(name); fd != nil {
			return protocompile.SearchResult{Desc: fd}, nil
		}
		return protocompile.SearchResult{}, fmt.Errorf("%s: %w in the import paths %s", name, fs.ErrNotExist, quoted(roots))
	}))
}

// addCompiled adds a file with all that it imports.
func (a *assembly) addCompiled(fd protoreflect.FileDescriptor) error {
	if a.given[fd.Path()] != nil {
		return nil
	}
	raw, err := proto.Marshal(protoutil.ProtoFromFileDescriptor(fd))
	if err != nil {
		return badFile(fd.Path(), err)
	}
	if _, err := a.addBytes(raw, fd.Path()); err != nil {
		return err
	}
	for i := range fd.Imports().Len() {
		if err := a.addCompiled(fd.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	return nil
}

// importName is the name by which others import the file: its path below the first import path that
// contains it. A path that does not exist may be such a name already.
func importName(read *reading, path string, roots []string) (string, error) {
	if !read.exists(path) {
		isName := func(root string) bool { return read.exists(filepath.Join(root, path)) }
		if !filepath.IsAbs(path) && slices.ContainsFunc(roots, isName) {
			return filepath.ToSlash(filepath.Clean(path)), nil
		}
		_, err := os.Stat(path)
		if err == nil {
			err = fs.ErrNotExist // It was created since. The next load finds it.
		}
		return "", err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for _, root := range roots {
		absRoot, err := filepath.Abs(root)
		if err != nil {
			return "", err
		}
		rel, err := filepath.Rel(absRoot, abs)
		if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			continue
		}
		if err := shadowed(read, path, rel, roots); err != nil {
			return "", err
		}
		return filepath.ToSlash(rel), nil
	}
	return "", fmt.Errorf("%s is under none of the import paths %s", path, quoted(roots))
}

// shadowed returns an error, as protoc does, if the name of a file leads to another file in an
// earlier import path.
func shadowed(read *reading, path, rel string, roots []string) error {
	for _, root := range roots {
		found := filepath.Join(root, rel)
		if !read.exists(found) {
			continue
		}
		a, errA := os.Stat(path)
		b, errB := os.Stat(found)
		if errA == nil && errB == nil && !os.SameFile(a, b) {
			return fmt.Errorf("%s is hidden by %s, which is in an earlier import path", path, found)
		}
		return nil
	}
	return nil
}
