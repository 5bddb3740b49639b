package pool

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
	"testing"
)

// The sentences in doc comments that say who may call a function.
const (
	saysLocked   = "Caller must hold b.mu"
	saysCallPath = "Called on the call path; takes no lock"
)

// lockCheck finds breaches of the lock's rules in a package. A function that needs the lock must
// not be called without it. A function on the call path must not take it, neither itself nor
// through what it calls.
//
// Function literals (tasks, goroutines) are left out. Those that are passed to at, ask and mustAsk
// run with the lock held. The others take the lock themselves.
type lockCheck struct {
	info    types.Info
	decls   map[types.Object]*ast.FuncDecl
	reports []string
}

func checkLocks(fset *token.FileSet, files []*ast.File) []string {
	c := &lockCheck{
		info:  types.Info{Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object), Selections: make(map[*ast.SelectorExpr]*types.Selection)},
		decls: make(map[types.Object]*ast.FuncDecl),
	}
	// The imports are not loaded. What is declared in this package is known without them.
	conf := types.Config{Error: func(error) {}, Importer: noImports{}}
	_, _ = conf.Check("pool", fset, files, &c.info)
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				c.decls[c.info.Defs[fn.Name]] = fn
			}
		}
	}
	for _, fn := range c.decls {
		takes := false
		for _, called := range c.calls(fn) {
			name := called.Name()
			switch {
			case name == "lock":
				takes = true
			case c.says(called, saysLocked) && !takes && !says(fn, saysLocked) && !strings.HasPrefix(fn.Name.Name, "new"):
				c.reports = append(c.reports, fn.Name.Name+" calls "+name+" without the lock")
			}
		}
		if says(fn, saysCallPath) {
			if way := c.wayToLock(fn, make(map[*ast.FuncDecl]bool)); way != "" {
				c.reports = append(c.reports, way+", on the call path")
			}
		}
	}
	return c.reports
}

// wayToLock returns the calls by which a function takes the lock. "": it does not take the lock.
func (c *lockCheck) wayToLock(fn *ast.FuncDecl, seen map[*ast.FuncDecl]bool) string {
	if seen[fn] {
		return ""
	}
	seen[fn] = true
	for _, called := range c.calls(fn) {
		if called.Name() == "lock" || c.says(called, saysLocked) {
			return fn.Name.Name + " calls " + called.Name()
		}
		if next := c.decls[called]; next != nil {
			if way := c.wayToLock(next, seen); way != "" {
				return fn.Name.Name + ", " + way
			}
		}
	}
	return ""
}

// calls returns the functions of the package that a function calls, in order.
func (c *lockCheck) calls(fn *ast.FuncDecl) (called []types.Object) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if _, inPlace := n.(*ast.FuncLit); inPlace {
			return false
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		var name *ast.Ident
		switch f := call.Fun.(type) {
		case *ast.Ident:
			name = f
		case *ast.SelectorExpr:
			name = f.Sel
		default:
			return true
		}
		if o := c.info.Uses[name]; o != nil && c.decls[o] != nil {
			called = append(called, o)
		}
		return true
	})
	return called
}

func (c *lockCheck) says(o types.Object, sentence string) bool {
	fn := c.decls[o]
	return fn != nil && says(fn, sentence)
}

func says(fn *ast.FuncDecl, sentence string) bool { return strings.Contains(fn.Doc.Text(), sentence) }

// noImports has an empty package for every import.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}

func TestLockDiscipline(t *testing.T) {
	fset := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for _, report := range checkLocks(fset, files) {
		t.Error(report)
	}
}

// The check finds each kind of breach.
func TestLockCheck(t *testing.T) {
	const head = `package pool
import "sync"
type balancer struct { mu sync.Mutex }
func (b *balancer) lock() { b.mu.Lock() }
func (b *balancer) at(func()) {}
// Caller must hold b.mu.
func (b *balancer) change() {}
`
	for _, tc := range []struct{ name, code, want string }{
		{"with the lock", "func (b *balancer) a() { b.lock(); b.change() }", ""},
		{"for callers with the lock", "// Caller must hold b.mu.\nfunc (b *balancer) a() { b.change() }", ""},
		{"in a task", "func (b *balancer) a() { b.at(func() { b.change() }) }", ""},
		{"without the lock", "func (b *balancer) a() { b.change() }", "a calls change without the lock"},
		{"before the lock", "func (b *balancer) a() { b.change(); b.lock() }", "a calls change without the lock"},
		{"a call takes it", "// Called on the call path; takes no lock.\nfunc (b *balancer) a() { b.lock() }", "a calls lock, on the call path"},
		{"a call takes it two steps away", "// Called on the call path; takes no lock.\nfunc (b *balancer) a() { b.b() }\nfunc (b *balancer) b() { b.lock() }",
			"a, b calls lock, on the call path"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, "a.go", head+tc.code, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(checkLocks(fset, []*ast.File{f}), "; "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
