package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// warnings are those that the API server has sent.
type warnings struct {
	mu   sync.Mutex
	text []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.text)
}

// manifests reads examples/kubernetes.
func manifests(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(kit.RootDir(t), "examples/kubernetes/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var objects []*unstructured.Unstructured
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))); ; {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			object := new(unstructured.Unstructured)
			if err == nil {
				err = yaml.Unmarshal(document, &object.Object)
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			objects = append(objects, object)
		}
	}
	return objects
}

// apply makes the namespace, which enforces the strictest standard for pods, and what
// examples/kubernetes has. Fields that the API server does not know are errors.
func (s *apiServer) apply(t *testing.T) {
	t.Helper()
	labels := make(map[string]string)
	for _, mode := range []string{"enforce", "warn"} {
		labels["pod-security.kubernetes.io/"+mode] = "restricted"
	}
	_, err := s.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(s.client.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	for _, object := range manifests(t) {
		kind := object.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			t.Fatal(err)
		}
		if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
			t.Fatalf("%s %s is not in a namespace", kind.Kind, object.GetName())
		}
		_, err = client.Resource(mapping.Resource).Namespace(object.GetNamespace()).Create(t.Context(), object,
			metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			t.Fatalf("%s %s: %v", kind.Kind, object.GetName(), err)
		}
	}
}

// TestManifests gives the manifests of examples/kubernetes to the API server. It takes them without
// a warning, and a pod of the Deployment as well, in a namespace that enforces the standard
// restricted. The service account may do what the gateway needs, and nothing else.
func TestManifests(t *testing.T) {
	s := startAPIServer(t)
	deployment, err := s.client.AppsV1().Deployments(namespace).Get(t.Context(), "gateway", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := s.client.CoreV1().Pods(namespace).Create(t.Context(), podOf(deployment), metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatalf("a pod of the Deployment: %v", err)
	}
	if mounts := pod.Spec.Containers[0].VolumeMounts; !slices.ContainsFunc(mounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/var"+accountDir }) {
		t.Errorf("the pod has no service account: %+v", mounts)
	}
	privileged := podOf(deployment)
	privileged.Name, privileged.Spec.SecurityContext, privileged.Spec.HostNetwork = "privileged", nil, true
	if _, err := s.client.CoreV1().Pods(namespace).Create(t.Context(), privileged, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the namespace takes any pod, so that it takes the example's says nothing: %v", err)
	}
	if got := s.warned.all(); len(got) > 0 {
		t.Errorf("the API server warns: %q", got)
	}

	account := s.as(t, s.token(t, "account"))
	slices := account.DiscoveryV1().EndpointSlices
	if _, err := slices(namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("EndpointSlices of the namespace: %v", err)
	}
	for what, err := range map[string]error{
		"of another namespace": errOf(slices("default").List(t.Context(), metav1.ListOptions{})),
		"of all namespaces":    errOf(slices("").List(t.Context(), metav1.ListOptions{})),
		"to write":             slices(namespace).Delete(t.Context(), "x", metav1.DeleteOptions{}),
		"Secrets":              errOf(account.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want that it is forbidden", what, err)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func podOf(d *appsv1.Deployment) *corev1.Pod {
	template := d.Spec.Template.DeepCopy()
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "gateway-1", Labels: template.Labels}, Spec: template.Spec}
}
