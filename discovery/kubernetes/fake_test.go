package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiServer is a Kubernetes API server on loopback that has EndpointSlices of the namespace shop.
// It lists and watches as the API concepts of Kubernetes describe it.
type apiServer struct {
	*httptest.Server

	// old is a server without streaming lists.
	old bool

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	version int
	oldest  int // version from which changes are known
	slices  map[string]*discoveryv1.EndpointSlice
	log     []change
	status  int    // of answers; 0: 200
	token   string // the only one that is accepted; "": any
	asked   []url.Values
	tokens  []string
	cut     func() // ends the watches
	cutting context.Context
}

type change struct {
	version int
	kind    string // ADDED, MODIFIED or DELETED
	slice   *discoveryv1.EndpointSlice
}

func newServer(t testing.TB, old bool) *apiServer {
	t.Helper()
	s := &apiServer{old: old, changed: make(chan struct{}), version: 100, slices: make(map[string]*discoveryv1.EndpointSlice)}
	s.cutting, s.cut = context.WithCancel(context.Background())
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.EnableHTTP2 = true
	s.StartTLS() // The client sends tokens by TLS only.
	t.Cleanup(func() {
		s.mu.Lock()
		s.cut()
		s.mu.Unlock()
		s.Close()
	})
	return s
}

// kubeconfig writes a kubeconfig for the server, with the token of a service account.
func (s *apiServer) kubeconfig(t testing.TB) string {
	t.Helper()
	return s.kubeconfigOf(t, `"token":"s3cret"`)
}

func (s *apiServer) kubeconfigOf(t testing.TB, login string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	content := `{"apiVersion":"v1","kind":"Config","current-context":"test",
		"clusters":[{"name":"test","cluster":{"server":"` + s.URL + `","certificate-authority-data":"` + ca + `"}}],
		"users":[{"name":"gateway","user":{` + login + `}}],
		"contexts":[{"name":"test","context":{"cluster":"test","user":"gateway"}}]}`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *apiServer) locked(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.changed)
	s.changed = make(chan struct{})
}

// set creates or changes a slice.
func (s *apiServer) set(slice *discoveryv1.EndpointSlice) {
	s.locked(func() {
		s.version++
		kind := "ADDED"
		if s.slices[slice.Name] != nil {
			kind = "MODIFIED"
		}
		slice.ResourceVersion = strconv.Itoa(s.version)
		s.slices[slice.Name] = slice
		s.log = append(s.log, change{s.version, kind, slice})
	})
}

func (s *apiServer) remove(name string) {
	s.locked(func() {
		s.version++
		slice := s.slices[name].DeepCopy()
		slice.ResourceVersion = strconv.Itoa(s.version)
		delete(s.slices, name)
		s.log = append(s.log, change{s.version, "DELETED", slice})
	})
}

// fail makes the server refuse everything with a status, and ends the watches. 0 heals it.
func (s *apiServer) fail(status int) {
	s.locked(func() {
		s.status = status
		s.cut()
		s.cutting, s.cut = context.WithCancel(context.Background())
	})
}

// expire forgets all changes so far and ends the watches.
func (s *apiServer) expire(unseen func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version += 1000
	s.oldest, s.log = s.version, nil
	unseen()
	s.cut()
	s.cutting, s.cut = context.WithCancel(context.Background())
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	s.mu.Lock()
	s.asked = append(s.asked, query)
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	status, version := s.status, s.version
	if s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		status = http.StatusUnauthorized
	}
	items := make([]discoveryv1.EndpointSlice, 0, len(s.slices))
	for _, slice := range s.slices {
		items = append(items, *slice)
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices":
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case status != 0:
		refuse(w, status, metav1.StatusReasonForbidden)
	case query.Get("watch") == "":
		_ = json.NewEncoder(w).Encode(discoveryv1.EndpointSliceList{
			TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList"},
			ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(version)}, Items: items,
		})
	case query.Has("sendInitialEvents") && s.old:
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	default:
		s.serveWatch(w, r, query, items, version)
	}
}

func refuse(w http.ResponseWriter, status int, reason metav1.StatusReason) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(status), Reason: reason,
		Message: "endpointslices.discovery.k8s.io is forbidden: cannot list in the namespace \"shop\"",
	})
}

func (s *apiServer) serveWatch(w http.ResponseWriter, r *http.Request, query url.Values, items []discoveryv1.EndpointSlice, version int) {
	send := func(kind string, object any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": object})
		w.(http.Flusher).Flush()
	}
	w.(http.Flusher).Flush()
	s.mu.Lock()
	cutting := s.cutting
	s.mu.Unlock()
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	if query.Get("sendInitialEvents") == "true" {
		for i := range items {
			send("ADDED", typed(&items[i]))
		}
		send("BOOKMARK", typed(&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: strconv.Itoa(version), Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}}))
		from = version
	}
	for {
		s.mu.Lock()
		changes, changed, oldest := slices.Clone(s.log), s.changed, s.oldest
		s.mu.Unlock()
		if from < oldest {
			send("ERROR", metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: http.StatusGone, Reason: metav1.StatusReasonExpired,
			})
			return
		}
		for _, c := range changes {
			if c.version > from {
				send(c.kind, typed(c.slice))
				from = c.version
			}
		}
		select {
		case <-changed:
		case <-cutting.Done():
			return
		case <-r.Context().Done():
			return
		}
	}
}

func typed(slice *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	c := slice.DeepCopy()
	c.TypeMeta = metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"}
	return c
}

func ptr[T any](v T) *T { return &v }

// pod is an endpoint of a slice. state has the words "notready", "terminating" and "serving".
func pod(name, ip, state string) discoveryv1.Endpoint {
	terminating := strings.Contains(state, "terminating")
	return discoveryv1.Endpoint{
		Addresses: []string{ip}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: name},
		Conditions: discoveryv1.EndpointConditions{
			Ready: ptr(!terminating && !strings.Contains(state, "notready")), Serving: ptr(strings.Contains(state, "serving") || state == ""),
			Terminating: &terminating,
		},
	}
}

// slice is one of the service user, with the port grpc.
func slice(name string, pods ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "user"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: pods,
		Ports: []discoveryv1.EndpointPort{{Name: ptr("grpc"), Port: ptr(int32(9001)), Protocol: ptr(corev1.ProtocolTCP)}},
	}
}
