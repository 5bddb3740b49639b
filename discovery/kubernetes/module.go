package kubernetes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/caddyblock"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// defaultHold is the default of Source.Hold.
const defaultHold = 60 * time.Second

// Source finds the pods of a Kubernetes service, by its EndpointSlices. They are those that are
// ready and do not terminate. The last list stays in use through every outage of the API server.
//
// The service account needs the verbs `list` and `watch` for `endpointslices` of the group
// `discovery.k8s.io` in the namespace.
type Source struct {
	// The namespace of the service. Placeholders such as `{env.POD_NAMESPACE}` are resolved when
	// the config is loaded. Required.
	Namespace string `json:"namespace,omitempty"`

	// The name of the service. Placeholders are resolved when the config is loaded. A headless
	// service will do. Required.
	Service string `json:"service,omitempty"`

	// The port of the pods: its name in the service, or its number at the pods. Default: the one
	// with the appProtocol `grpc` or `kubernetes.io/h2c`, or the only one.
	Port string `json:"port,omitempty"`

	// The kubeconfig file that says how to reach the API server. Default: none, because the gateway
	// runs in a pod and has a service account.
	Kubeconfig string `json:"kubeconfig,omitempty"`

	// The context in the kubeconfig file. Default: its current context. An error without
	// `kubeconfig`.
	Context string `json:"context,omitempty"`

	// How long a mass disappearance is doubted: more than half of four or more pods vanish within
	// 15 seconds, or the last one does. Those that are connected stay in use until their connection
	// closes, or until the API server has been well and without them for this time. Pods that
	// terminate are taken out at once. Default: 60s. Negative: the API server is believed at once.
	Hold caddy.Duration `json:"hold,omitempty"`

	namespace string // without placeholders
	service   string // without placeholders; "" in a catalog: all
	id        string
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.discovery.kubernetes",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision checks the settings and resolves placeholders. It connects to nothing. Outside of a pod
// it accepts a config without `kubeconfig`, so that the config can be validated anywhere.
func (s *Source) Provision(caddy.Context) (err error) {
	repl := caddy.NewReplacer()
	if s.namespace, err = repl.ReplaceOrErr(s.Namespace, true, true); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	if s.service, err = repl.ReplaceOrErr(s.Service, true, true); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if err := s.check(); err != nil {
		return err
	}
	if err := checkName("namespace", s.namespace); err != nil {
		return err
	}
	if err := checkName("service", s.service); err != nil {
		return err
	}
	return s.identify()
}

// identify reads the kubeconfig, if there is one, and makes the ID.
func (s *Source) identify() (err error) {
	var content []byte
	if s.Kubeconfig != "" {
		if content, err = os.ReadFile(s.Kubeconfig); err != nil {
			return fmt.Errorf("kubeconfig: %w", err)
		}
		if _, err := s.restConfig(); err != nil {
			return err
		}
	}
	s.id = s.makeID(content)
	return nil
}

// check checks what can be checked before placeholders are resolved.
func (s *Source) check() error {
	switch {
	case s.Namespace == "" || s.Service == "":
		return errors.New("expected <namespace>/<service> or <namespace>/<service>:<port>")
	case s.Context != "" && s.Kubeconfig == "":
		return errors.New("context: expected a kubeconfig, which it is for")
	}
	return nil
}

func checkName(what, name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("expected the name of a %s in Kubernetes, found %s", what, discovery.Excerpt(name))
	}
	return nil
}

// makeID names what is watched: a service, or a namespace. Kubeconfig files have secrets, so the ID
// has a hash of the content.
func (s *Source) makeID(kubeconfig []byte) string {
	id := "kubernetes:///" + s.namespace + "/" + s.service // A catalog has no service.
	if s.Port != "" {
		id += ":" + s.Port
	}
	query := make(url.Values)
	if s.Context != "" {
		query.Set("context", s.Context)
	}
	if d := s.hold(); d != defaultHold {
		query.Set("hold", d.String())
	}
	if len(query) > 0 {
		id += "?" + query.Encode()
	}
	if len(kubeconfig) > 0 {
		sum := sha256.Sum256(kubeconfig)
		id += "#" + hex.EncodeToString(sum[:8])
	}
	return id
}

// ID implements discovery.Source.
func (s *Source) ID() string { return s.id }

// hold is State.Hold.
func (s *Source) hold() time.Duration {
	return max(0, cmp.Or(time.Duration(s.Hold), defaultHold))
}

// restConfig says how to reach the API server. It reads files and does not use the network.
func (s *Source) restConfig() (config *rest.Config, err error) {
	if s.Kubeconfig == "" {
		if config, err = rest.InClusterConfig(); err != nil {
			return nil, fmt.Errorf("reading the service account of this pod: %w; elsewhere a kubeconfig is needed", err)
		}
	} else {
		rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: s.Kubeconfig}
		overrides := &clientcmd.ConfigOverrides{CurrentContext: s.Context}
		if config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig(); err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	config.UserAgent = "grpc_gateway"
	config.WarningHandler = rest.NoWarnings{}
	config.Timeout = 0 // It would end watches.
	return config, nil
}

// Watch implements discovery.Source. A service account is renewed by itself.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	backoff := discovery.Backoff{}
	for ctx.Err() == nil {
		err := s.watch(ctx, publish)
		if err == nil {
			return
		}
		publish(discovery.State{Err: err, Hold: s.hold()})
		select {
		case <-ctx.Done():
		case <-time.After(backoff.Next()):
		}
	}
}

// watch follows the service until ctx is done. An error says that there is no client yet.
func (s *Source) watch(ctx context.Context, publish func(discovery.State)) error {
	config, err := s.restConfig()
	if err != nil {
		return err
	}
	httpClient, closeAll, err := newHTTPClient(config)
	if err != nil {
		return fmt.Errorf("making the client of Kubernetes: %w", err)
	}
	defer closeAll()
	slices, err := discoveryclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("making the client of Kubernetes: %w", err)
	}
	w := &watcher{client: slices.EndpointSlices(s.namespace), port: s.Port, convert: convertAll}
	if s.service != "" {
		w.selector, w.convert = discoveryv1.LabelServiceName+"="+s.service, convert
	}
	w.state.Hold = s.hold()
	w.run(ctx, publish)
	return nil
}

// UnmarshalTarget implements discovery.TargetUnmarshaler:
//
//	kubernetes:///shop/user[:<port>][?hold=<duration>|off]
func (s *Source) UnmarshalTarget(t discovery.Target) error {
	if t.Scheme != "kubernetes" {
		return fmt.Errorf("expected the scheme kubernetes, found %s", discovery.Excerpt(t.Scheme))
	}
	if t.Authority != "" {
		return errors.New("expected three slashes before the namespace, as in kubernetes:///shop/user:grpc; " +
			"the service account or a kubeconfig says where the API server is")
	}
	if err := t.CheckQuery("hold"); err != nil {
		return err
	}
	if values := t.Query["hold"]; len(values) > 0 {
		var err error
		if s.Hold, err = caddyblock.ParseHold(values[0]); err != nil {
			return err
		}
	}
	return s.parseName(t.Path)
}

// parseName parses <namespace>/<service>[:<port>].
func (s *Source) parseName(text string) error {
	name, port, hasPort := cutPort(text)
	namespace, service, ok := strings.Cut(name, "/")
	if !ok || namespace == "" || service == "" || strings.Contains(service, "/") || hasPort && port == "" {
		return fmt.Errorf("expected <namespace>/<service> or <namespace>/<service>:<port>, found %s", discovery.Excerpt(text))
	}
	s.Namespace, s.Service, s.Port = namespace, service, port
	for what, name := range map[string]string{"namespace": namespace, "service": service} {
		if strings.Contains(name, "{") {
			continue // Provision resolves placeholders.
		}
		if err := checkName(what, name); err != nil {
			return err
		}
	}
	return nil
}

// cutPort cuts the text at its last colon, unless that is in a placeholder.
func cutPort(text string) (name, port string, ok bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 || strings.LastIndexByte(text, '}') > i {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Source)(nil)
	_ caddyfile.Unmarshaler       = (*Source)(nil)
	_ discovery.Source            = (*Source)(nil)
	_ discovery.TargetUnmarshaler = (*Source)(nil)
)
