package discoverytest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// checks are the contract, in the order of its documentation.
var checks = []check{
	{name: "ID names what is watched", fixed: true, run: checkID},
	{name: "the first list is published", run: checkFirst},
	{name: "a fixed list is published", fixed: true, run: checkFixed},
	{name: "an empty list is published", run: checkEmpty},
	{name: "every change is published", run: checkChanges},
	{name: "a changed value replaces the endpoint", run: checkReplaced},
	{name: "the list outlives an error", run: checkError},
	{name: "changes during an error are seen after it", run: checkMissed},
	{name: "trouble at the start is told", run: checkEarlyError},
	{name: "unusable entries are skipped", run: checkSkipped},
	{name: "Watch ends with its context", fixed: true, run: checkCancelled},
	{name: "Watch ends while the registry fails", run: checkCancelledInTrouble},
	{name: "Watch may be called again", fixed: true, run: checkAgain},
	{name: "two watches do not disturb each other", fixed: true, run: checkTwo},
	{name: "endpoints name their service", catalog: true, run: checkServices},
	{name: "one service does not affect another", catalog: true, run: checkOtherService},
}

// instances makes n instances of a service.
func (w *watch) instances(service string, n int) []Instance {
	list := make([]Instance, n)
	for i := range list {
		list[i] = Instance{ID: fmt.Sprintf("%d", i+1), Addr: fmt.Sprintf("127.0.%d.1:90%02d", i+1, i)}
		if w.subject.Catalog {
			list[i].Service = service
		}
	}
	return list
}

// has returns a condition: the list is complete, has no error, and has exactly these addresses.
func has(instances ...Instance) func(*discovery.State) bool {
	want := make([]string, len(instances))
	for i, in := range instances {
		want[i] = in.Addr
	}
	slices.Sort(want)
	return func(s *discovery.State) bool {
		got := make([]string, len(s.Endpoints))
		for i, e := range s.Endpoints {
			got[i] = e.Addr
		}
		slices.Sort(got)
		return s.Synced && s.Err == nil && slices.Equal(got, want)
	}
}

func fails(s *discovery.State) bool { return s.Err != nil }

// set sets instances and waits for them.
func (w *watch) set(instances ...Instance) error {
	w.registry.Set(instances...)
	return w.await(fmt.Sprintf("a list of the %d instances of the registry", len(instances)), has(instances...))
}

func checkID(w *watch) error {
	id := w.source.ID()
	switch {
	case id == "":
		return errors.New("it is empty")
	case discovery.Printable(id) != id:
		return fmt.Errorf("%q has characters that do not print; it is logged", id)
	case w.source.ID() != id:
		return fmt.Errorf("it changed from %q to %q", id, w.source.ID())
	}
	w.start()
	err := w.await("a state", func(*discovery.State) bool { return true })
	if w.source.ID() != id {
		return fmt.Errorf("it changed from %q to %q while the source watched", id, w.source.ID())
	}
	return err
}

func checkFirst(w *watch) error {
	list := w.instances("a", 3)
	slices.Reverse(list)
	w.registry.Set(list...)
	w.start()
	return w.await("the first list", has(list...))
}

func checkFixed(w *watch) error {
	if !w.subject.Fixed {
		return errSkipped
	}
	if _, ok := w.source.(discovery.Fixed); !ok {
		return errors.New("a source whose list is in the config has a method Fixed")
	}
	w.start()
	return w.await("a list", func(s *discovery.State) bool { return s.Synced && len(s.Endpoints) > 0 })
}

func checkEmpty(w *watch) error {
	w.start()
	if err := w.await("an empty list with Synced", has()); err != nil {
		return err
	}
	if err := w.set(w.instances("a", 2)...); err != nil {
		return err
	}
	return w.set()
}

func checkChanges(w *watch) error {
	all := w.instances("a", 5)
	w.start()
	for _, list := range [][]Instance{all[:1], all[:3], all[1:3], all[1:], all[4:], all} {
		if err := w.set(list...); err != nil {
			return err
		}
	}
	return nil
}

func checkReplaced(w *watch) error {
	list := w.instances("a", 2)
	w.start()
	if err := w.set(list...); err != nil {
		return err
	}
	moved := slices.Clone(list)
	moved[0].Addr = "127.0.9.9:9999"
	return w.set(moved...)
}

func checkError(w *watch) error {
	list := w.instances("a", 3)
	w.start()
	if err := w.set(list...); err != nil {
		return err
	}
	w.registry.Fail()
	if err := w.await("an error after the registry has failed", fails); err != nil {
		return err
	}
	if err := w.await("the last list with the error", func(s *discovery.State) bool {
		return fails(s) && s.Synced && len(s.Endpoints) == len(list)
	}); err != nil {
		return err
	}
	w.registry.Heal()
	return w.await("the list without an error after the registry is back", has(list...))
}

func checkMissed(w *watch) error {
	all := w.instances("a", 4)
	w.start()
	if err := w.set(all[:2]...); err != nil {
		return err
	}
	w.registry.Fail()
	if err := w.await("an error after the registry has failed", fails); err != nil {
		return err
	}
	w.registry.Set(all[1:]...)
	w.registry.Heal()
	return w.await("the changes that were made while the registry failed", has(all[1:]...))
}

func checkEarlyError(w *watch) error {
	w.registry.Fail()
	w.start()
	if err := w.await("an error", fails); err != nil {
		return err
	}
	if err := w.await("an error without a list", func(s *discovery.State) bool { return fails(s) && !s.Synced }); err != nil {
		return err
	}
	list := w.instances("a", 2)
	w.registry.Set(list...)
	w.registry.Heal()
	return w.await("the first list after the registry is back", has(list...))
}

func checkSkipped(w *watch) error {
	spoiler, ok := w.registry.(Spoiler)
	if !ok {
		return errSkipped
	}
	list := w.instances("a", 2)
	w.start()
	if err := w.set(list...); err != nil {
		return err
	}
	spoiler.Spoil()
	return w.await("the entry in Skipped beside the others", func(s *discovery.State) bool { return has(list...)(s) && len(s.Skipped) == 1 })
}

func checkCancelled(w *watch) error {
	w.start()
	if err := w.await("a state", func(*discovery.State) bool { return true }); err != nil {
		return err
	}
	time.Sleep(w.subject.Quiet) // It must go on until it is cancelled.
	return w.stop()
}

func checkCancelledInTrouble(w *watch) error {
	w.registry.Fail()
	w.start()
	if err := w.await("an error", fails); err != nil {
		return err
	}
	return w.stop()
}

func checkAgain(w *watch) error {
	first := newWatch(w.subject, w.source, w.registry)
	first.start()
	if err := errors.Join(first.await("a state", func(*discovery.State) bool { return true }), first.stop()); err != nil {
		return err
	}
	w.start()
	if err := w.await("a state of the second watch", func(s *discovery.State) bool { return s.Synced }); err != nil {
		return err
	}
	if w.subject.Fixed {
		return nil
	}
	return w.set(w.instances("a", 2)...)
}

func checkTwo(w *watch) error {
	other := newWatch(w.subject, w.source, w.registry)
	other.start()
	defer other.cancel()
	w.start()
	both := errors.Join(w.await("a list", func(s *discovery.State) bool { return s.Synced }), other.await("a list", func(s *discovery.State) bool { return s.Synced }))
	if both != nil {
		return both
	}
	other.cancel()
	<-other.done
	if w.subject.Fixed {
		return nil
	}
	return w.set(w.instances("a", 2)...)
}

func checkServices(w *watch) error {
	a, b := w.instances("a", 2), w.instances("b", 2)
	for i := range b {
		b[i].Addr = strings.Replace(b[i].Addr, "127.0.", "127.1.", 1)
	}
	w.start()
	if err := w.set(append(a, b...)...); err != nil {
		return err
	}
	return w.await("two instances of each of two services", func(s *discovery.State) bool {
		n := make(map[string]int)
		for _, e := range s.Endpoints {
			n[e.Service]++
		}
		counts := make([]int, 0, 2)
		for _, count := range n {
			counts = append(counts, count)
		}
		return slices.Equal(counts, []int{2, 2})
	})
}

func checkOtherService(w *watch) error {
	// They have the same IDs and addresses, and differ in their service only.
	a, b := w.instances("a", 2), w.instances("b", 2)
	w.start()
	if err := w.set(append(slices.Clone(a), b...)...); err != nil {
		return err
	}
	return w.set(b...)
}
