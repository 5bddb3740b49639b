// Package checks is the contract between the gateway and the modules that check request messages
// before a call is made. The option `validate` runs them. The package knows no rules: each checker
// has a subdirectory, and a third party's has a repository of its own.
//
// A checker is a Caddy guest module in the namespace http.grpc_gateway.checks that implements
// Checker. It is asked in three steps:
//
//   - Checker.Schema, once for each schema that the gateway reads.
//   - SchemaChecks.Method, for each method of it. A method without anything to check gets no Check,
//     and then its calls cost nothing.
//   - Check.Message, for each request message of a call, in every protocol. It gets the bytes that
//     would be sent to the service.
//
// Answers are not checked.
package checks

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Checker is implemented by guest modules.
type Checker interface {
	// ID is a canonical name for what is checked, and how. Checkers with equal IDs are
	// interchangeable. What they have prepared for a schema is shared by all handlers, and stays
	// over config reloads.
	ID() string
	// Schema prepares for the methods of a schema. It is called when the schema is loaded, and not
	// while a call waits. It uses no network. What it returns is dropped with the schema. The
	// checker may then be that of a config that is not in force any more.
	Schema(s Schema) SchemaChecks
}

// Schema is the description of the services of one upstream. It is immutable.
type Schema struct {
	// Files are the descriptors. They come from another process: they link, but what they say may
	// be wrong or hostile.
	Files *protoregistry.Files
}

// SchemaChecks are the checks of one schema. Safe for concurrent use.
type SchemaChecks interface {
	// Method returns the check of a method of the schema, or nil if there is nothing to check. The
	// problems are shown to operators, in the log and in the routes view. A problem refuses
	// neither a config nor a call.
	Method(m protoreflect.MethodDescriptor) (Check, []Problem)
}

// Problem is a part of the schema that cannot be used for checks. It is comparable, and a problem
// that several methods have is shown once.
type Problem struct {
	// Subject is the full name of the field, message or rule.
	Subject string
	// Reason says what was expected and what was found. It is one line.
	Reason string
}

// Check checks the request messages of one method. Safe for concurrent use.
type Check interface {
	// Message returns nil if the message may be sent. If it returns a *Refusal, the client is told
	// what is wrong. Any other error means that the message could not be judged. It is refused,
	// too, because a client must not get around a check by a message that breaks it. The text of
	// such an error is for the log only.
	//
	// The bytes are in protobuf's wire format, and may be malformed. They must be neither changed
	// nor kept. ctx ends with the call.
	Message(ctx context.Context, wire []byte) error
}

// Refusal is the error of a message that must not be sent. Clients get INVALID_ARGUMENT.
type Refusal struct { //nolint:errname // A refusal is what it is.
	// Message is a text for the client. Default: it is made of the violations.
	Message string
	// Violations are what is wrong. The client gets them as a google.rpc.BadRequest, up to the
	// gateway's limits. It may be empty if there is a Message.
	Violations []Violation
	// Total is how many violations there are, if Violations has only the first of them. The gateway
	// tells of 100 at most. Default: 0, Violations has all.
	Total int
	// Detail returns a further detail of the error with the first n violations, in a form that is
	// the checker's own. Default: nil, there is none. It may return nil.
	Detail func(n int) proto.Message
}

// Error is for the log. Only the first violation is in it.
func (r *Refusal) Error() string {
	switch {
	case r.Message != "":
		return r.Message
	case len(r.Violations) == 0:
		return "the message is refused"
	}
	v := &r.Violations[0]
	return v.Path(func(fd protoreflect.FieldDescriptor) string { return string(fd.Name()) }) + ": " + v.Description + " [" + v.Rule + "]"
}

// Violation is one thing that is wrong with a message.
type Violation struct {
	// Field is the way from the request message to the field. Empty: the message as a whole.
	Field []Step
	// Rule is the ID of the rule, such as string.min_len. Clients may depend on it.
	Rule string
	// Description says what the rule wants, for people.
	Description string
}

// Step is one step of a path.
type Step struct {
	// Field is the field. The gateway writes its name as the client does. Nil: Name is written.
	Field protoreflect.FieldDescriptor
	// Name is the name of what is not a field, such as a oneof.
	Name string
	// Subscript is the index in a list, which begins at 0, or the key of a map. A text is quoted.
	// Default: "", the field as a whole.
	Subscript string
}

// Path is the path of the field, as in `author.emails[0]` or `labels["a"]`. name returns the name
// of a field.
func (v *Violation) Path(name func(protoreflect.FieldDescriptor) string) string {
	var path []byte
	for i, s := range v.Field {
		if i > 0 {
			path = append(path, '.')
		}
		if s.Field != nil {
			path = append(path, name(s.Field)...)
		} else {
			path = append(path, s.Name...)
		}
		if s.Subscript != "" {
			path = append(path, '[')
			path = append(path, s.Subscript...)
			path = append(path, ']')
		}
	}
	return string(path)
}
