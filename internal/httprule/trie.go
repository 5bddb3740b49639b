package httprule

import "strings"

// noRoute is the index of a route that was not found.
const noRoute = -1

// node is a state of the trie that all templates with one verb are compiled to. An edge takes one
// segment of a path.
type node struct {
	literals children
	single   *node // by `*`
	// deep is the trie of the literals that follow a `**` here, read from the end of the path. Its
	// root ends the templates whose last segment is the `**`.
	deep *node
	// ends are sorted by method, with "*" last, so the first that accepts a method is the right
	// one.
	ends []end
}

// end is a route whose template ends at a node.
type end struct {
	method string // "*" accepts any
	route  int
}

// few is how many literals are searched one by one. With more, a map is faster and worth its
// memory. Nearly all nodes of a real API have one.
const few = 4

// children maps the text of literals to nodes.
type children struct {
	list   []child
	byText map[string]*node // instead of list, for more than few
}

type child struct {
	text string
	node *node
}

func (c *children) find(text string) *node {
	if c.byText != nil {
		return c.byText[text]
	}
	for i := range c.list {
		if c.list[i].text == text {
			return c.list[i].node
		}
	}
	return nil
}

// findEncoded finds the text that a part of a raw path stands for.
func (c *children) findEncoded(raw string) *node {
	if strings.IndexByte(raw, '%') < 0 {
		return c.find(raw)
	}
	// The conversions of decoded to a string below need no copy, and the buffer is on the stack.
	var buffer [64]byte
	decoded := appendDecoded(buffer[:0], raw, false)
	if c.byText != nil {
		return c.byText[string(decoded)]
	}
	for i := range c.list {
		if c.list[i].text == string(decoded) {
			return c.list[i].node
		}
	}
	return nil
}

// findOrAdd returns the node for a text, and makes it if necessary.
func (c *children) findOrAdd(text string) *node {
	if n := c.find(text); n != nil {
		return n
	}
	n := &node{}
	if c.byText == nil && len(c.list) < few {
		c.list = append(c.list, child{text, n})
		return n
	}
	if c.byText == nil {
		c.byText = make(map[string]*node, len(c.list)+1)
		for _, old := range c.list {
			c.byText[old.text] = old.node
		}
		c.list = nil
	}
	c.byText[text] = n
	return n
}

// insert adds a template's segments and returns the node at which it ends.
func (n *node) insert(segments []segment) *node {
	for i, s := range segments {
		switch s.kind {
		case literalSegment:
			n = n.literals.findOrAdd(s.text)
		case singleSegment:
			if n.single == nil {
				n.single = &node{}
			}
			n = n.single
		case deepSegment:
			if n.deep == nil {
				n.deep = &node{}
			}
			n = n.deep
			for tail := segments[i+1:]; len(tail) > 0; tail = tail[:len(tail)-1] {
				n = n.literals.findOrAdd(tail[len(tail)-1].text)
			}
			return n
		}
	}
	return n
}

// walk is one search of a trie.
//
// The search is depth first with backtracking, in the order of precedence. It ends at the first
// route that accepts the method.
//
// Its cost is bounded. Each edge takes exactly one segment: from the front of the path, or after a
// `**` from its end. The nodes form a tree, so there is one way to a node and it is entered at most
// once. A search therefore never enters more nodes than the trie has, whatever the path. It enters
// only nodes whose literals all agree with the path. In an ordinary API these are about as many as
// the path has segments.
type walk struct {
	method string
	// allowed, if set, collects the methods of all routes that match. Then no route is found.
	allowed map[string]struct{}
	steps   int // nodes entered
}

// find searches from a node. rest is the remaining path: empty, or a slash and more.
func (w *walk) find(n *node, rest string) int {
	w.steps++
	if rest == "" {
		if found := w.accept(n.ends); found != noRoute {
			return found
		}
	} else {
		text, next := cutSegment(rest)
		if child := n.literals.findEncoded(text); child != nil {
			if found := w.find(child, next); found != noRoute {
				return found
			}
		}
		if n.single != nil && text != "" {
			if found := w.find(n.single, next); found != noRoute {
				return found
			}
		}
	}
	if n.deep != nil {
		return w.findTail(n.deep, rest)
	}
	return noRoute
}

// findTail searches what follows a `**` from the end of the path, the longest tail first.
func (w *walk) findTail(n *node, rest string) int {
	w.steps++
	if slash := strings.LastIndexByte(rest, '/'); slash >= 0 {
		if child := n.literals.findEncoded(rest[slash+1:]); child != nil {
			if found := w.findTail(child, rest[:slash]); found != noRoute {
				return found
			}
		}
	}
	return w.accept(n.ends)
}

// accept returns the route among ends that takes the method.
func (w *walk) accept(ends []end) int {
	for _, e := range ends {
		switch {
		case w.allowed != nil:
			w.allowed[e.method] = struct{}{}
		case e.method == w.method || e.method == anyMethod:
			return e.route
		}
	}
	return noRoute
}

// cutSegment takes the first segment off a path that begins with a slash.
func cutSegment(rest string) (text, next string) {
	rest = rest[1:]
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		return rest[:slash], rest[slash:]
	}
	return rest, ""
}
