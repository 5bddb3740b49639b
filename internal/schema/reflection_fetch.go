package schema

import (
	"context"
	"fmt"
	"path"
	"slices"

	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func (c *reflectionCall) listServices(ctx context.Context) ([]string, error) {
	var names []string
	err := c.ask(ctx, []*question{
		{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"}},
	}, func(_ *question, resp *answer) error {
		if e := resp.GetErrorResponse(); e != nil {
			return fmt.Errorf("list services: %w", answeredError(e))
		}
		if resp.GetListServicesResponse() == nil {
			return fmt.Errorf("list services: the server answered with %s", kindOf(resp))
		}
		for _, s := range resp.GetListServicesResponse().GetService() {
			if s.GetName() != "" && !IsGRPCOwn(s.GetName()) {
				names = append(names, s.GetName())
			}
		}
		return nil
	})
	if len(names) > maxServices {
		return nil, fmt.Errorf("the server lists %d services, more than the limit of %d", len(names), maxServices)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// fetchServices gets the files that declare the services. A service whose file the server does not
// give is a problem.
func (c *reflectionCall) fetchServices(ctx context.Context, names []string) ([]Problem, error) {
	var problems []Problem
	var valid []string
	for _, name := range names {
		if askable(name) {
			valid = append(valid, name)
		} else {
			problems = append(problems, Problem{Subject: shortened(name, maxText), Reason: "it is listed, but that is not a valid name"})
		}
	}
	c.batch = 1 // The first file may have them all.
	failures := map[string]error{}
	err := c.fetchSymbols(ctx, valid, func(symbol string, err error) { failures[symbol] = err })
	for _, name := range valid {
		// Another answer may have brought what the server did not find by this name.
		if err := failures[name]; err != nil && !c.files.services[name] {
			problems = append(problems, Problem{Subject: name, Reason: "it is listed, but the server does not describe it: " + err.Error()})
		}
	}
	return problems, err
}

// askable reports whether a server may be asked for a name.
func askable(name string) bool { return len(name) <= maxText && protoreflect.FullName(name).IsValid() }

// fetchSymbols gets the files that declare the symbols. It calls failed for those that the server
// does not have.
func (c *reflectionCall) fetchSymbols(ctx context.Context, symbols []string, failed func(symbol string, err error)) error {
	questions := make([]*question, len(symbols))
	for i, s := range symbols {
		questions[i] = fileWithSymbol(s)
	}
	return c.ask(ctx, questions, func(q *question, resp *answer) error {
		_, err := c.take(resp, func(err error) { failed(q.GetFileContainingSymbol(), err) })
		return err
	})
}

// fetchImports gets the imported files that the server did not send along, until nothing is missing
// except what it does not have.
func (c *reflectionCall) fetchImports(ctx context.Context) error {
	for {
		var questions []*question
		for _, path := range c.files.freshImports() {
			// Each is asked for once. If the answer does not bring it, it is missing.
			if c.asked[path] {
				continue
			}
			c.asked[path] = true
			questions = append(questions, fileNamed(path))
		}
		if len(questions) == 0 {
			return nil
		}
		err := c.ask(ctx, questions, func(q *question, resp *answer) error {
			paths, err := c.take(resp, func(error) {})
			if len(paths) > 0 && !slices.Contains(paths, q.GetFileByFilename()) {
				c.files.aliases[q.GetFileByFilename()] = sameFile(q.GetFileByFilename(), paths)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}

// sameFile picks the file that a server means, if none has the path that was asked for.
func sameFile(asked string, paths []string) string {
	for _, p := range paths {
		if path.Base(p) == path.Base(asked) {
			return p
		}
	}
	return paths[0]
}

// repairImports helps with servers whose files do not fit together. Some know a file by another
// path than the files that import it, which happens in Go when files of several projects are
// compiled from different roots. Some give a file without what it imports, or each declaration in a
// file of its own. Types that are not declared are asked for by name. A file that uses a type gets
// an import of the file that declares it.
func (c *reflectionCall) repairImports(ctx context.Context) error {
	for {
		c.files.importAliases()
		var symbols []string
		for _, name := range c.files.unresolved() {
			// No path of a file starts with a dot.
			if key := "." + name; !c.asked[key] && askable(name) {
				c.asked[key] = true
				symbols = append(symbols, name)
			}
		}
		if len(symbols) == 0 {
			break
		}
		if err := c.fetchSymbols(ctx, symbols, func(string, error) {}); err != nil {
			return err
		}
		if err := c.fetchImports(ctx); err != nil {
			return err
		}
	}
	c.files.importByName()
	return nil
}
