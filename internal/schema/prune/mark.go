package prune

import "google.golang.org/protobuf/reflect/protoreflect"

// mark finds what visible and hidden methods reach.
func (g *graph) mark(inputs []Input) {
	var visible []*node
	for _, in := range inputs {
		for _, m := range in.Methods {
			if n := g.node(m); n != nil {
				visible = append(visible, n)
			}
		}
		for _, fd := range in.Files {
			if f := g.addedFile(fd); f != nil {
				visible = append(append(visible, f.root), f.nodes...)
			}
		}
	}
	reach(visible, func(n *node) *bool { return &n.visible })
	var hidden []*node
	for _, f := range g.files {
		for _, n := range f.nodes {
			if _, ok := n.desc.(protoreflect.MethodDescriptor); ok && !n.visible {
				hidden = append(hidden, n)
			}
		}
	}
	reach(hidden, func(n *node) *bool { return &n.hidden })
}

// reach sets a mark on the given nodes and on all that they need or pull along.
func reach(from []*node, mark func(*node) *bool) {
	for len(from) > 0 {
		n := from[len(from)-1]
		from = from[:len(from)-1]
		if m := mark(n); !*m {
			*m = true
			from = append(append(append(from, n.refs...), n.softRefs...), n.pulls...)
		}
	}
}

// drop decides what is not shown.
func (g *graph) drop() {
	users := map[*node][]*node{} // of each node, the nodes that need it
	var dropped []*node
	for _, f := range g.files {
		if f.common {
			continue
		}
		secret := !f.known
		for _, n := range f.nodes {
			for _, to := range n.refs {
				users[to] = append(users[to], n)
			}
			secret = secret || n.hidden && !n.visible
		}
		for _, n := range f.nodes {
			if !n.visible && (n.hidden || secret && !n.inVisible()) {
				dropped = append(dropped, n)
			}
		}
	}
	// What nothing reaches must not need what is dropped.
	for len(dropped) > 0 {
		n := dropped[len(dropped)-1]
		dropped = dropped[:len(dropped)-1]
		if !n.dropped {
			n.dropped = true
			dropped = append(dropped, users[n]...)
		}
	}
}

// inVisible reports whether a node is nested in a visible message.
func (n *node) inVisible() bool {
	for p := n.parent; p != nil; p = p.parent {
		if p.visible {
			return true
		}
	}
	return false
}
