package frontend

// Rule is one line of the metadata config, `[+|-]<glob> [<as>]`.
type Rule struct {
	// Sign is '+' (also these), '-' (not these) or 0 (only these: the default set no longer holds).
	Sign byte
	// Glob matches names without regard to case; '*' stands for any run of characters.
	Glob string
	// As is the name it gets, "" to keep it. A '*' in it stands for what the first '*' of Glob matched.
	As string
}

// Rules decide which headers become metadata, or metadata headers. Immutable.
type Rules struct{}

// ParseRule parses the words of one line of the config: `[+|-]<glob> [<as>]`.
func ParseRule(words ...string) (Rule, error) { panic("to be built") }

// CompileRequestRules makes the rules that say which request headers become metadata. No rules: the default set.
func CompileRequestRules(rules []Rule) (*Rules, error) { panic("to be built") }

// CompileResponseRules makes the rules that say which metadata becomes response headers and trailers. No rules: the default set.
func CompileResponseRules(rules []Rule) (*Rules, error) { panic("to be built") }

// DefaultRequestRules are the rules without any config.
func DefaultRequestRules() *Rules { return &Rules{} }

// DefaultResponseRules are the rules without any config.
func DefaultResponseRules() *Rules { return &Rules{} }
