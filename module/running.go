package module

import (
	"maps"
	"slices"
	"sync"
)

// appList are the apps that have started, oldest first. During a reload there are two. If the new
// one fails, the old one stays.
type appList struct {
	mu   sync.Mutex
	apps []*App
}

func (l *appList) add(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps = append(l.apps, a)
}

func (l *appList) remove(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.apps {
		if other == a {
			l.apps = append(l.apps[:i:i], l.apps[i+1:]...)
			return
		}
	}
}

// newest returns the app of the config in force, or nil if there is none.
func (l *appList) newest() *App {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.apps) == 0 {
		return nil
	}
	return l.apps[len(l.apps)-1]
}

// channelSet are channels that no config refers to any more. They still have calls, or wait for
// late ones.
type channelSet struct {
	mu       sync.Mutex
	channels map[*sharedChannel]struct{}
}

func (s *channelSet) add(c *sharedChannel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels == nil {
		s.channels = make(map[*sharedChannel]struct{})
	}
	s.channels[c] = struct{}{}
}

func (s *channelSet) remove(c *sharedChannel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, c)
}

func (s *channelSet) all() []*sharedChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.channels))
}
