package kubernetes

import (
	"cmp"
	"errors"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/caddy-grpc/gateway/discovery"
)

// convertAll makes the list of a catalog. Each slice belongs to the service that its label names.
// A pod of two services is an instance of both.
func convertAll(all []*discoveryv1.EndpointSlice, port string) list {
	var l list
	services := make(map[string][]*discoveryv1.EndpointSlice)
	for _, slice := range all {
		name := slice.Labels[discoveryv1.LabelServiceName]
		err := discovery.CheckService(name)
		if name == "" {
			err = errors.New("expected the label " + discoveryv1.LabelServiceName + ", found none")
		}
		if err != nil {
			l.skipped = append(l.skipped, discovery.Skipped{ID: slice.Namespace + "/" + slice.Name, Reason: err.Error()})
			continue
		}
		services[name] = append(services[name], slice)
	}
	for name, own := range services {
		l.addService(name, convert(own, port), created(own))
	}
	slices.SortFunc(l.endpoints, byID)
	slices.SortFunc(l.withdrawn, byID)
	slices.SortFunc(l.skipped, func(a, b discovery.Skipped) int { return cmp.Compare(a.ID, b.ID) })
	return l
}

func byID(a, b discovery.Endpoint) int { return cmp.Compare(a.ID, b.ID) }

// addService adds the list of one service. Its name makes the IDs of its pods unique.
func (l *list) addService(name string, own list, created int64) {
	for _, endpoints := range [][]discovery.Endpoint{own.endpoints, own.withdrawn} {
		for i := range endpoints {
			e := &endpoints[i]
			e.ID, e.Service, e.Created = name+"/"+e.ID, name, created
		}
	}
	for i := range own.skipped {
		own.skipped[i].ID = name + "/" + own.skipped[i].ID
	}
	l.endpoints = append(l.endpoints, own.endpoints...)
	l.withdrawn = append(l.withdrawn, own.withdrawn...)
	l.skipped = append(l.skipped, own.skipped...)
}

// created is the age of a service: the Unix time at which the oldest of its slices was created. 0:
// unknown.
func created(own []*discoveryv1.EndpointSlice) (oldest int64) {
	for _, slice := range own {
		if at := slice.CreationTimestamp; !at.IsZero() && (oldest == 0 || at.Unix() < oldest) {
			oldest = at.Unix()
		}
	}
	return oldest
}
