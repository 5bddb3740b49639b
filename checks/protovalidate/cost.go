package protovalidate

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	pvcel "buf.build/go/protovalidate/cel"
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// This file estimates what CEL expressions can cost. The library evaluates them without a limit,
// and an expression of one line can keep a processor busy for years: `this.a.all(x, this.a.all(y,
// this.a.all(z, …)))`. The estimate is made of the parsed expression alone. Types are not known, so
// it is on the safe side.

const (
	// maxExpression is the longest expression that is compiled, in bytes.
	maxExpression = 8 << 10
	// maxDegree is the highest power of a message's size that an expression may cost.
	maxDegree = 2
	// heavyDegree is the power from which on the size of messages is limited.
	heavyDegree = 2
	// maxFactor is how many steps an expression may take, in units of the power.
	maxFactor = 10_000
)

var errTooHeavy = errors.New("its cost can grow with the square of the message")

// cost is about factor * n^degree steps, where n is the number of elements of a message.
type cost struct {
	degree int
	factor float64
	// splits says that texts become lists, so that each character counts as an element.
	splits bool
}

// and is the cost of one thing and another.
func (c cost) and(d cost) cost {
	sum := cost{degree: max(c.degree, d.degree), splits: c.splits || d.splits}
	if c.degree == sum.degree {
		sum.factor += c.factor
	}
	if d.degree == sum.degree {
		sum.factor += d.factor
	}
	return sum
}

// times is the cost of one thing for each step of the other.
func (c cost) times(d cost) cost {
	return cost{c.degree + d.degree, c.factor * d.factor, c.splits || d.splits}
}

// expression is one in CEL, with the full name of where it is written.
type expression struct {
	of   protoreflect.FullName
	text string
}

// parser parses expressions without looking at types. It has the functions of protovalidate.
var parser = sync.OnceValues(func() (*cel.Env, error) { return cel.NewEnv(cel.Lib(pvcel.NewLibrary())) })

// cost estimates the cost, and is an error if that is too high. A text that is not CEL costs
// nothing, because it does not compile.
func (e expression) cost() (cost, error) {
	if len(e.text) > maxExpression {
		return cost{}, fmt.Errorf("an expression of %s has %d bytes, more than %d", e.of, len(e.text), maxExpression)
	}
	env, err := parser()
	if err != nil {
		return cost{}, err
	}
	parsed, issues := env.Parse(e.text)
	if issues.Err() != nil {
		return cost{}, nil //nolint:nilerr // The library says so when it compiles the expression.
	}
	c := estimate(parsed.NativeRep().Expr(), nil)
	switch {
	case c.degree > maxDegree:
		return c, fmt.Errorf("the cost of an expression of %s can grow with the power %d of the message, more than %d", e.of, c.degree, maxDegree)
	case c.factor > maxFactor:
		return c, fmt.Errorf("an expression of %s can take %.0f steps, more than %d", e.of, c.factor, maxFactor)
	}
	return c, nil
}

// scope has the variables of the comprehensions around an expression.
type scope struct {
	outer *scope
	names [3]string
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		for _, n := range s.names {
			if n == name && name != "" {
				return true
			}
		}
	}
	return false
}

// one is the cost of a step.
func one() cost { return cost{factor: 1} }

func estimate(e ast.Expr, in *scope) cost {
	c := one()
	switch e.Kind() {
	case ast.SelectKind:
		return c.and(estimate(e.AsSelect().Operand(), in))
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			c = c.and(estimate(element, in))
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			c = c.and(estimate(entry.AsMapEntry().Key(), in)).and(estimate(entry.AsMapEntry().Value(), in))
		}
	case ast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			c = c.and(estimate(field.AsStructField().Value(), in))
		}
	case ast.CallKind:
		return estimateCall(e.AsCall(), in)
	case ast.ComprehensionKind:
		return estimateLoop(e.AsComprehension(), in)
	}
	return c
}

// estimateLoop is for all, exists, exists_one, filter and map.
func estimateLoop(loop ast.ComprehensionExpr, in *scope) cost {
	source := estimate(loop.IterRange(), in)
	rounds := cost{degree: max(1, source.degree), factor: 1, splits: source.splits}
	switch loop.IterRange().Kind() {
	case ast.ListKind:
		rounds = cost{factor: float64(loop.IterRange().AsList().Size())}
	case ast.MapKind:
		rounds = cost{factor: float64(loop.IterRange().AsMap().Size())}
	}
	inner := &scope{in, [3]string{loop.IterVar(), loop.IterVar2(), loop.AccuVar()}}
	body := estimate(loop.LoopCondition(), inner).and(estimate(loop.LoopStep(), inner))
	return source.and(estimate(loop.AccuInit(), in)).and(rounds.times(body)).and(estimate(loop.Result(), inner))
}

// estimateCall is for functions and operators.
func estimateCall(call ast.CallExpr, in *scope) cost {
	args := operands(call)
	c := one()
	whole := false // An argument may be as large as the message.
	for _, a := range args {
		c = c.and(estimate(a, in))
		whole = whole || isWhole(a, in)
	}
	switch call.FunctionName() {
	case "_&&_", "_||_", "!_", "_?_:_", "@not_strictly_false", "_[_]", "_-_", "_*_", "_/_", "_%_", "-_",
		"has", "int", "uint", "double", "bool", "type", "dyn":
		return c // They take one step, whatever their arguments are.
	case "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith":
		// No more is compared than what is written in the rule.
		whole = whole && !hasKind(args, ast.LiteralKind)
	case "_+_":
		// map and filter add elements to their result without copying it.
		whole = whole && !hasKind(args, ast.ListKind)
	case "replace", "join":
		// The result may be as long as the product of the arguments, unless what is put in is
		// written in the rule.
		if last := args[len(args)-1]; len(args) > 1 && last.Kind() != ast.LiteralKind {
			return c.times(cost{degree: 1, factor: 1}).and(cost{degree: 2, factor: 1})
		}
	case "split":
		c.splits = true
	case "matches":
		// A pattern that the client sends is compiled again for each call.
		if args[len(args)-1].Kind() != ast.LiteralKind {
			return c.and(cost{degree: 2, factor: 1})
		}
	}
	if whole {
		c = c.and(cost{degree: 1, factor: 1})
	}
	return c
}

// operands are the target of a call, if it has one, and its arguments.
func operands(call ast.CallExpr) []ast.Expr {
	if call.IsMemberFunction() {
		return append([]ast.Expr{call.Target()}, call.Args()...)
	}
	return call.Args()
}

func hasKind(args []ast.Expr, kind ast.ExprKind) bool {
	return slices.ContainsFunc(args, func(e ast.Expr) bool { return e.Kind() == kind })
}

// isWhole reports whether a value may be as large as the whole message. What is written in the rule
// is not. Neither is what belongs to one element of a list: all of those together are as large as
// the list.
func isWhole(e ast.Expr, in *scope) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		return false
	case ast.IdentKind:
		return !in.has(e.AsIdent())
	case ast.SelectKind:
		return isWhole(e.AsSelect().Operand(), in)
	case ast.ListKind:
		return slices.ContainsFunc(e.AsList().Elements(), func(e ast.Expr) bool { return isWhole(e, in) })
	case ast.CallKind:
		return slices.ContainsFunc(operands(e.AsCall()), func(e ast.Expr) bool { return isWhole(e, in) })
	}
	return true
}
