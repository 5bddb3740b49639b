package pool

import (
	"container/heap"
	"time"
)

// task is work that is due at a time. It runs with the balancer's lock held.
type task struct {
	at  time.Time
	run func()
}

// agenda orders the tasks of a balancer by time. A task never leaves the agenda before its time. It
// checks when it runs whether it is still wanted. So the states of an endpoint need no timers to
// stop.
type agenda []task

// add puts work on the agenda. It reports whether this is now the first task.
func (a *agenda) add(at time.Time, run func()) (first bool) {
	first = len(*a) == 0 || at.Before((*a)[0].at)
	heap.Push(a, task{at: at, run: run})
	return first
}

// next takes out a task that is due at now. If none is due, it returns the time until the next one,
// or -1 if the agenda is empty.
func (a *agenda) next(now time.Time) (run func(), wait time.Duration) {
	if len(*a) == 0 {
		return nil, -1
	}
	if wait := (*a)[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	t, _ := heap.Pop(a).(task)
	return t.run, 0
}

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }

// Push is for container/heap.
func (a *agenda) Push(x any) {
	t, _ := x.(task)
	*a = append(*a, t)
}

// Pop is for container/heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	t := (*a)[last]
	(*a)[last] = task{}
	*a = (*a)[:last]
	return t
}
