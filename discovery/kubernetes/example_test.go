package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manifests decodes the example's files as the API server does when it is told to refuse fields
// that it does not know. What it checks after that, such as limits, is not checked here.
func manifests(t *testing.T) []runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	files, err := filepath.Glob("../../examples/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var objects []runtime.Object
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
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			object, _, err := strict.Decode(document, nil, nil)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			objects = append(objects, object)
		}
	}
	return objects
}

// TestManifests checks the manifests against the types of the API, and that they fit each other.
func TestManifests(t *testing.T) {
	var deployment *appsv1.Deployment
	var budget *policyv1.PodDisruptionBudget
	var role *rbacv1.Role
	accounts := []string{}
	for _, object := range manifests(t) {
		switch o := object.(type) {
		case *appsv1.Deployment:
			deployment = o
		case *policyv1.PodDisruptionBudget:
			budget = o
		case *rbacv1.Role:
			role = o
		case *corev1.ServiceAccount:
			accounts = append(accounts, o.Name)
		}
	}
	if deployment == nil || budget == nil || role == nil {
		t.Fatal("expected a Deployment, a PodDisruptionBudget and a Role")
	}
	pod := deployment.Spec.Template
	if want := pod.Labels["app"]; deployment.Spec.Selector.MatchLabels["app"] != want || budget.Spec.Selector.MatchLabels["app"] != want {
		t.Errorf("the selectors do not select the pods with app %q", want)
	}
	if !slices.Contains(accounts, pod.Spec.ServiceAccountName) {
		t.Errorf("service account %q is not one of %q", pod.Spec.ServiceAccountName, accounts)
	}
	container := pod.Spec.Containers[0]
	for name, probe := range map[string]*corev1.Probe{"readiness": container.ReadinessProbe, "startup": container.StartupProbe} {
		if probe.HTTPGet.Path != "/healthz" || probe.HTTPGet.Port.String() != container.Ports[0].Name {
			t.Errorf("the %s probe asks %s at %s", name, probe.HTTPGet.Path, probe.HTTPGet.Port.String())
		}
	}
	if verbs := role.Rules[0].Verbs; !slices.Equal(verbs, []string{"list", "watch"}) || role.Rules[0].Resources[0] != "endpointslices" {
		t.Errorf("the role may %q %q", verbs, role.Rules[0].Resources)
	}
}
