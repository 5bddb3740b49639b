package kubernetes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

const (
	// accountDir is where a pod has its service account. /var/run is a link to /run.
	accountDir = "/run/secrets/kubernetes.io/serviceaccount"
	namespace  = "shop"
	adminToken = "the-token-of-the-tests"
)

// apiServer is a kube-apiserver with access control, on an etcd of its own. It keeps its data and
// its port over restarts.
type apiServer struct {
	addr   string
	etcd   *kit.Etcd
	certs  *kit.Certificates
	client *kubernetes.Clientset // may do everything
	config *rest.Config
	warned *warnings

	dir  string
	args []string
	cmd  *exec.Cmd
	done chan struct{}
}

// startAPIServer starts one with the manifests of examples/kubernetes.
func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{addr: kit.FreeAddr(t), etcd: kit.EmbeddedEtcd(t), certs: kit.NewCertificates(t, "unused"), warned: new(warnings), dir: t.TempDir()}
	_, port, _ := net.SplitHostPort(s.addr)
	key, tokens := filepath.Join(s.dir, "accounts.key"), filepath.Join(s.dir, "tokens.csv")
	writeKey(t, key)
	write(t, tokens, adminToken+`,tests,tests,"system:masters"`+"\n")
	s.args = []string{
		"--etcd-servers=http://" + s.etcd.Addr, "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1", "--secure-port=" + port,
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=198.51.100.0/24", "--authorization-mode=RBAC", "--token-auth-file=" + tokens,
		"--tls-cert-file=" + s.certs.ServerCert, "--tls-private-key-file=" + s.certs.ServerKey, "--cert-dir=" + s.dir,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
	}
	s.config = &rest.Config{
		Host: "https://" + s.addr, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{CAFile: s.certs.CA},
		QPS: -1, WarningHandler: s.warned,
	}
	var err error
	if s.client, err = kubernetes.NewForConfig(s.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	s.start(t)
	s.apply(t)
	return s
}

func writeKey(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})))
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the server, and waits until it is ready.
func (s *apiServer) start(t *testing.T) {
	t.Helper()
	file := filepath.Join(s.dir, "log")
	log, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd, s.done = exec.Command(binary("kube-apiserver"), s.args...), make(chan struct{})
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait()
		log.Close()
	}()
	took := kit.Eventually(t, 120*time.Second, "the API server is ready", func() error {
		select {
		case <-s.done:
			text, _ := os.ReadFile(file)
			t.Fatalf("the API server ended at its start:\n%s", text[max(0, len(text)-5000):])
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		text, err := s.client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Raw()
		if err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		return nil
	})
	t.Logf("the API server is ready after %v", took.Round(time.Millisecond))
}

// stop ends the server as a crash would.
func (s *apiServer) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.done
	s.cmd = nil
}

// env is what a pod has in its environment.
func (s *apiServer) env() []string {
	host, port, _ := net.SplitHostPort(s.addr)
	return []string{"KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port, "POD_NAMESPACE=" + namespace}
}

// token makes a token for the service account of the example. It is valid as long as a Secret of
// that name is there, as a pod's is as long as the pod is.
func (s *apiServer) token(t *testing.T, secret string) string {
	t.Helper()
	bound, err := s.client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	request, err := s.client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "gateway", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: secret, UID: bound.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// revoke ends the validity of a token.
func (s *apiServer) revoke(t *testing.T, secret string) {
	t.Helper()
	if err := s.client.CoreV1().Secrets(namespace).Delete(t.Context(), secret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// mount gives the gateway a service account, as the kubelet does.
func (s *apiServer) mount(t *testing.T, token string) {
	t.Helper()
	ca, err := os.ReadFile(s.certs.CA)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"ca.crt": string(ca), "namespace": namespace, "token": token} {
		file := filepath.Join(accountDir, name)
		write(t, file+".new", content)
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
}
