//go:build e2e

package cluster

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/kubetest"
)

// A worker gets a new certificate from a real API server with only the rights that
// PAI's manifest gives: its kubelet asks, the program of the control-plane machine
// approves, and the controller manager signs. A kubelet gets its serving certificate
// whenever it asks, and none for the address of another machine. A caller without
// a credential learns only whether the API server is well.
func TestCertificatesThroughARealAPI(t *testing.T) {
	control, worker := newRoot(t), newRoot(t)
	ca := authorityOn(t, func(name, content string) { control.put(name, []byte(content)) })
	caPEM := control.read(t, layout.PKIDir+"/ca.crt")
	recorded, err := recordedMachines(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	control.put(layout.CertificatesFile, []byte(recorded))
	authentication, err := embedded.ReadFile("manifests/authentication.yaml")
	if err != nil {
		t.Fatal(err)
	}
	control.put(layout.AuthenticationFile, authentication)
	control.put(layout.UnitsDir+"/"+layout.CertificatesUnit, []byte(certificatesUnitFile()))
	serving, key := ca.leaf(t, "kube-apiserver", nil, time.Hour, time.Minute)
	control.put("/serving.crt", serving)
	control.put("/serving.key", key)
	c := kubetest.Start(t, "--client-ca-file="+control.at(layout.PKIDir+"/ca.crt"), "--tls-cert-file="+control.at("/serving.crt"),
		"--tls-private-key-file="+control.at("/serving.key"), "--authentication-config="+control.at(layout.AuthenticationFile))
	c.StartControllers("--cluster-signing-cert-file="+control.at(layout.PKIDir+"/ca.crt"), "--cluster-signing-key-file="+control.at(layout.PKIDir+"/ca.key"))
	const name = "pai-2"
	objects, err := renderManifest("manifests/bootstrap.yaml", bootstrapValues([]string{name}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.Apply(t.Context(), objects, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	control.kubeconfig(t, layout.AdminConf, c.Config.Host, ca, caPEM, "kubernetes-admin", time.Hour, 0)
	// A third of its hour is left, and a little less.
	worker.kubeconfig(t, layout.NetworkConf, c.Config.Host, ca, caPEM, layout.NetworkUser+":"+name, time.Hour, 45*time.Minute)
	identity, identityKey := ca.leaf(t, "system:node:"+name, []string{"system:nodes"}, time.Hour, time.Minute)
	worker.put(layout.KubeletClientCertificate, slices.Concat(identity, identityKey))

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { certs.Keep(ctx, control.store()); close(done) }()
	defer func() { stop(); <-done }()

	before := worker.read(t, layout.NetworkConf)
	renewed, err := worker.store().Renew(t.Context(), false)
	if err != nil || !slices.Equal(renewed, []string{layout.NetworkConf}) {
		t.Fatalf("got %q, %v, want a new certificate of the network program", renewed, err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(worker.read(t, layout.NetworkConf))
	if err != nil || slices.Equal(before, worker.read(t, layout.NetworkConf)) {
		t.Fatal(err)
	}
	network, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := network.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("the new certificate is of no use: %v", err)
	}

	kubelet := &rest.Config{Host: c.Config.Host, TLSClientConfig: rest.TLSClientConfig{CAData: caPEM, CertData: identity, KeyData: identityKey}}
	address := testConfig().Workers()[0].HostIP
	if asked := ask(t, kubelet, name, address); !approvedWithin(t, c, asked, 30*time.Second) {
		t.Error("a serving certificate for the recorded name and address was not approved")
	}
	if asked := ask(t, kubelet, name, "10.9.0.99"); approvedWithin(t, c, asked, 12*time.Second) {
		t.Error("a serving certificate for another address was approved")
	}

	client, err := rest.HTTPClientFor(rest.AnonymousClientConfig(c.Config))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/version": http.StatusUnauthorized, "/api/v1/namespaces": http.StatusUnauthorized, "/readyz": http.StatusOK, "/livez": http.StatusOK} {
		response, err := client.Get(c.Config.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: got %s without a credential, want %d", path, response.Status, want)
		}
	}
}

// ask requests a serving certificate as a kubelet does.
func ask(t *testing.T, kubelet *rest.Config, name, address string) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(kubelet)
	if err != nil {
		t.Fatal(err)
	}
	r := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"}, Spec: certificatesv1.CertificateSigningRequestSpec{
		SignerName: certificatesv1.KubeletServingSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		Request: signRequest(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + name, Organization: []string{"system:nodes"}},
			DNSNames: []string{name}, IPAddresses: []net.IP{net.ParseIP(address)}})}}
	made, err := client.CertificatesV1().CertificateSigningRequests().Create(t.Context(), r, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Name
}

func approvedWithin(t *testing.T, c *kubetest.Cluster, name string, limit time.Duration) bool {
	t.Helper()
	wait := poll.Wait{For: "the approval of " + name, Timeout: limit, Every: 500 * time.Millisecond}
	return wait.Until(t.Context(), func(ctx context.Context) (bool, error) {
		r, err := c.Client.Clientset().CertificatesV1().CertificateSigningRequests().Get(ctx, name, metav1.GetOptions{})
		return err == nil && len(r.Status.Conditions) > 0 && r.Status.Conditions[0].Type == certificatesv1.CertificateApproved && len(r.Status.Certificate) > 0, err
	}) == nil
}

// root is the root directory of a made-up machine.
type root struct {
	t   *testing.T
	dir string
}

func newRoot(t *testing.T) root { return root{t, t.TempDir()} }

func (r root) at(name string) string { return filepath.Join(r.dir, name) }

func (r root) put(name string, data []byte) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.at(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.at(name), data, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r root) read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(r.at(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (r root) store() certs.Store {
	run := func(context.Context, string, ...string) (string, error) { return "ActiveState=inactive\n", nil }
	return certs.Store{Root: r.dir, Now: time.Now, Run: run, Log: slog.New(slog.NewTextHandler(r.t.Output(), nil))}
}

func (r root) kubeconfig(t *testing.T, path, server string, ca testAuthority, authority []byte, user string, lives, age time.Duration) {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["pai"] = &api.Cluster{Server: server, CertificateAuthorityData: authority}
	cert, key := ca.leaf(t, user, nil, lives, age)
	config.AuthInfos["pai"] = &api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts["pai"] = &api.Context{Cluster: "pai", AuthInfo: "pai"}
	config.CurrentContext = "pai"
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	r.put(path, data)
}

// leaf is a certificate with a life that began an age ago.
func (a testAuthority) leaf(t *testing.T, user string, groups []string, lives, age time.Duration) (cert, key []byte) {
	t.Helper()
	cert, key, _ = signFor(t, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: user, Organization: groups},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-age), NotAfter: time.Now().Add(lives - age)}, &a)
	return cert, key
}
