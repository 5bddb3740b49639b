// Package toolname gives methods the names under which language models call them as tools. It knows
// the rules for such names, and it remembers the names that it has given.
//
// It is not for serving tools: package mcp is.
package toolname

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
)

// MaxLen is the length of the longest name. It is the least limit that a vendor of models has.
const MaxLen = 64

// Valid reports whether every agent accepts the name: a letter first, then letters, digits, `_` and
// `-`, and at most MaxLen characters in all. These are the characters that three vendors have in
// common:
//
//   - Anthropic and OpenAI: `^[a-zA-Z0-9_-]{1,64}$`,
//   - Google: letters, digits, `_`, `-` and for some models `.` and `:`, at most 64, and a letter
//     or `_` first.
//
// docs/mcp.md names the sources.
func Valid(name string) bool {
	if name == "" || len(name) > MaxLen || !isLetter(name[0]) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// Method is a method that needs a name.
type Method struct {
	// Name is `package.Service/Method`.
	Name string
	// Wanted is the name that the author of the method has chosen. "" stands for none. It counts if
	// it is valid and no other method has it.
	Wanted string
}

// maxKept is how many names a Registry remembers of methods that have gone. Whoever may write to a
// registry of services can bring ever new ones.
const maxKept = 10_000

// Registry gives names and remembers them, so that a method keeps its name while others come and
// go. The zero value is ready. Safe for concurrent use.
type Registry struct {
	mu     sync.Mutex
	names  map[string]string // by method
	owners map[string]string // the method of each name
}

// Assign returns the names of the methods, by Method.Name. reserved are names that no method gets,
// because the config gives them to others.
//
// A method without a name of its own is called Service_Method. If another method has that name, or
// will get it now, the package is put before it. A name that is too long loses its beginning, and
// gets a part of its hash instead.
func (r *Registry) Assign(methods []Method, reserved map[string]bool) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names == nil {
		r.names, r.owners = make(map[string]string), make(map[string]string)
	}
	r.forget(methods)
	out := make(map[string]string, len(methods))
	var fresh []Method
	for _, m := range methods {
		if name, ok := r.names[m.Name]; ok && !reserved[name] {
			out[m.Name] = name
		} else {
			fresh = append(fresh, m)
		}
	}
	slices.SortFunc(fresh, func(a, b Method) int { return strings.Compare(a.Name, b.Name) })
	shorts := make(map[string]int)
	for _, m := range fresh {
		shorts[short(m.Name)]++
	}
	for _, m := range fresh {
		name := r.choose(m, shorts, reserved)
		if old, ok := r.names[m.Name]; ok {
			delete(r.owners, old)
		}
		r.names[m.Name], r.owners[name] = name, m.Name
		out[m.Name] = name
	}
	return out
}

// choose returns the first free name of a method. Caller must hold r.mu.
func (r *Registry) choose(m Method, shorts map[string]int, reserved map[string]bool) string {
	free := func(name string) bool {
		owner, taken := r.owners[name]
		return Valid(name) && !reserved[name] && (!taken || owner == m.Name)
	}
	if free(m.Wanted) {
		return m.Wanted
	}
	if name := short(m.Name); shorts[name] == 1 && free(name) {
		return name
	}
	long := identifier(strings.NewReplacer(".", "_", "/", "_").Replace(m.Name))
	if free(long) {
		return long
	}
	sum := sha256.Sum256([]byte(m.Name))
	hash := hex.EncodeToString(sum[:])
	for size := 8; ; size += 8 {
		tail := long[max(0, len(long)-(MaxLen-size-2)):]
		// No identifier that was cut begins with this, and a longer hash is another name.
		if name := "m" + hash[:size] + "_" + tail; free(name) || size == 56 {
			return name
		}
	}
}

// forget drops names of methods that have gone, if there are too many. Caller must hold r.mu.
func (r *Registry) forget(methods []Method) {
	if len(r.names) <= len(methods)+maxKept {
		return
	}
	present := make(map[string]bool, len(methods))
	for _, m := range methods {
		present[m.Name] = true
	}
	for method, name := range r.names {
		if !present[method] {
			delete(r.names, method)
			delete(r.owners, name)
		}
	}
}

// short is Service_Method.
func short(method string) string {
	service, name, _ := strings.Cut(method, "/")
	return identifier(service[strings.LastIndexByte(service, '.')+1:] + "_" + name)
}

// identifier makes a text begin with a letter. Some agents refuse other names.
func identifier(s string) string {
	if s != "" && isLetter(s[0]) {
		return s
	}
	return "rpc_" + strings.TrimLeft(s, "_")
}
