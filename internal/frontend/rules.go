package frontend

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-grpc/gateway/internal/glob"
)

// Rule is one line of the metadata config, `[+|-]<glob> [<as>...]`.
type Rule struct {
	// Sign is '+' (these too), '-' (not these) or 0 (only these: the default set does not apply).
	Sign byte
	// Glob matches names without regard to case. A '*' matches any run of characters.
	Glob string
	// As is the name to pass them on under, or several names with spaces between them. Default: "",
	// the name that they have. A '*' in a name is replaced by what the first '*' of Glob matched.
	As string
}

// Rules decide which request headers become metadata, or which metadata becomes response headers.
// Immutable.
//
// The last rule whose glob matches a name decides. A name that no rule matches is decided by the
// default set. The default set is empty if there is a rule without a sign.
type Rules struct {
	rules []rule
	// only says that a rule has no sign.
	only bool
	// implied is the default set.
	implied func(name string) bool
	// refused reports whether nothing may be passed on under the name.
	refused func(name string) bool
}

// rule is a compiled Rule. All names are in lower case.
type rule struct {
	sign byte
	glob string
	as   string   // "" is the name that the header has.
	also []string // Further names.
}

// ParseRule parses the words of one line of the config: `[+|-]<glob> [<as>...]`.
func ParseRule(words ...string) (Rule, error) {
	var r Rule
	if len(words) == 0 {
		return r, errors.New("metadata rule: want [+|-]<glob> [<as>...]")
	}
	r.Glob = words[0]
	if r.Glob != "" && (r.Glob[0] == '+' || r.Glob[0] == '-') {
		r.Sign, r.Glob = r.Glob[0], r.Glob[1:]
	}
	r.As = strings.Join(words[1:], " ")
	return r, r.check()
}

func (r Rule) check() error {
	switch {
	case r.Glob == "":
		return errors.New("metadata rule: the header name is empty")
	case r.Sign != 0 && r.Sign != '+' && r.Sign != '-':
		return fmt.Errorf("metadata rule %q: the sign is %q, want + or -", r.Glob, r.Sign)
	case !validKey(strings.ToLower(strings.ReplaceAll(r.Glob, "*", ""))):
		return fmt.Errorf("metadata rule %q: a name has letters, digits, '-', '_' and '.', and '*' for any of them", r.Glob)
	case r.As != "" && r.Sign == '-':
		return fmt.Errorf("metadata rule %q: what is dropped cannot have another name", r.Glob)
	}
	for _, as := range strings.Fields(r.As) {
		switch {
		case strings.Count(as, "*") > 1:
			return fmt.Errorf("metadata rule %q: the new name %q has more than one *", r.Glob, as)
		case strings.Contains(as, "*") && !strings.Contains(r.Glob, "*"):
			return fmt.Errorf("metadata rule %q: the new name %q has a * and the glob has none", r.Glob, as)
		case !validKey(strings.ToLower(strings.ReplaceAll(as, "*", ""))):
			return fmt.Errorf("metadata rule %q: the new name %q is not a metadata key", r.Glob, as)
		}
	}
	return nil
}

// CompileRequestRules makes the rules that say which request headers become metadata. Without rules
// the default set decides.
func CompileRequestRules(rules []Rule) (*Rules, error) {
	return compileRules(rules, DefaultRequestRules())
}

// CompileResponseRules makes the rules that say which metadata becomes response headers, or
// trailers. Without rules the default set decides.
func CompileResponseRules(rules []Rule) (*Rules, error) {
	return compileRules(rules, DefaultResponseRules())
}

func compileRules(rules []Rule, into *Rules) (*Rules, error) {
	for _, r := range rules {
		if err := r.check(); err != nil {
			return nil, err
		}
		r.Glob, r.As = strings.ToLower(r.Glob), strings.ToLower(r.As)
		compiled := rule{sign: r.Sign, glob: r.Glob}
		targets := strings.Fields(r.As)
		if len(targets) > 0 {
			compiled.as, compiled.also = targets[0], targets[1:]
		} else {
			targets = []string{r.Glob}
		}
		for _, target := range targets {
			if r.Sign != '-' && into.refusesAll(target) {
				return nil, fmt.Errorf("metadata rule %q: %q belongs to the protocol and is never sent%s",
					r.Glob, target, into.hint(r, target))
			}
		}
		into.only = into.only || r.Sign == 0
		into.rules = append(into.rules, compiled)
	}
	return into, nil
}

// refusesAll reports whether a rule with this target passes nothing on. With a `*` the text before
// it counts: a `*` that goes on after "grpc-" makes reserved names, all but those that have a
// pattern of their own.
func (r *Rules) refusesAll(target string) bool {
	prefix, _, pattern := strings.Cut(target, "*")
	if pattern {
		return strings.HasPrefix(prefix, "grpc-") && r.refused(prefix)
	}
	return r.refused(target)
}

// hint says what to write instead.
func (r *Rules) hint(rule Rule, target string) string {
	switch {
	case !strings.HasPrefix(target, "grpc-"):
		return ""
	case !r.refused("grpc-metadata-"):
		return `; of the names with "grpc-" only grpc-metadata-* and grpc-trailer-* can be sent`
	case rule.As == "" && strings.HasPrefix(rule.Glob, "grpc-metadata-") && strings.HasSuffix(rule.Glob, "*"):
		return fmt.Sprintf(`; to pass it on without the prefix, write "%s *"`, rule.Glob)
	default:
		return `; give it a name without "grpc-"`
	}
}

// statusDetails is the key of the trailer metadata that has the whole google.rpc.Status of an
// error. The error is written in the form of its protocol, and its details may have been hidden. So
// no rule gives them another name.
const statusDetails = "grpc-status-details-bin"

// Without returns the rules with one more, by which the name (in lower case) is not passed on.
func (r *Rules) Without(name string) *Rules {
	less := *r
	less.rules = append(slices.Clip(r.rules), rule{sign: '-', glob: name})
	return &less
}

// target returns the name under which the header or key name (in lower case) is passed on. also has
// further names, if a rule gives it several. ok is false if it is not passed on.
func (r *Rules) target(name string) (as string, also []string, ok bool) {
	as, decided, ok := r.decide(name)
	if !ok || as == "" || name == statusDetails || decided == nil && (r.only || !r.implied(name)) || r.refused(as) {
		return "", nil, false
	}
	if decided != nil && len(decided.also) > 0 {
		also = r.further(decided, name)
	}
	return as, also, true
}

// further returns the names of a rule after the first.
func (r *Rules) further(decided *rule, name string) []string {
	star, _ := glob.Capture(decided.glob, name)
	names := make([]string, 0, len(decided.also))
	for _, as := range decided.also {
		if as = strings.Replace(as, "*", star, 1); as != "" && !r.refused(as) {
			names = append(names, as)
		}
	}
	return names
}

// decide applies the rules of the config. decided is nil if none matches.
func (r *Rules) decide(name string) (as string, decided *rule, ok bool) {
	for i := len(r.rules) - 1; i >= 0; i-- {
		candidate := &r.rules[i]
		star, matched := glob.Capture(candidate.glob, name)
		switch {
		case !matched:
		case candidate.sign == '-':
			return "", candidate, false
		case candidate.as == "":
			return name, candidate, true
		default:
			return strings.Replace(candidate.as, "*", star, 1), candidate, true
		}
	}
	return name, nil, true
}

// keeps reports whether the gateway may add a field of its own under the name. A rule with '-'
// forbids it.
func (r *Rules) keeps(name string) bool {
	_, _, ok := r.decide(name)
	return ok
}
