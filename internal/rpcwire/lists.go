package rpcwire

// callList is a queue of calls. A call is in one list at most. Every operation takes constant time.
type callList struct{ first, last *Call }

func (l *callList) empty() bool { return l.first == nil }

func (l *callList) push(call *Call) {
	call.list, call.prev, call.next = l, l.last, nil
	if l.last == nil {
		l.first = call
	} else {
		l.last.next = call
	}
	l.last = call
}

func (l *callList) remove(call *Call) {
	if call.prev == nil {
		l.first = call.next
	} else {
		call.prev.next = call.next
	}
	if call.next == nil {
		l.last = call.prev
	} else {
		call.next.prev = call.prev
	}
	call.list, call.next, call.prev = nil, nil, nil
}

func (l *callList) pop() *Call {
	call := l.first
	if call != nil {
		l.remove(call)
	}
	return call
}
