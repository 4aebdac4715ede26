//go:build e2e

package e2e

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/test/poller"
)

// TestCertificates gives the machines certificates that live minutes, and lets several
// generations pass under a running job and a client that never retries. Then it renews
// all on demand, lets the kubelet of a worker ask for its serving certificate again,
// and gives that kubelet an identity that has ended: one command brings it back.
func TestCertificates(t *testing.T) {
	o := newOperator(t, "certificates")
	o.run(20*time.Minute, "up", "--machines", "2")
	o.submit("examples/train.yaml", 2)
	before := o.jobContainers()
	client, err := poller.Start(context.Background(), filepath.Join(o.state, "clusters", "local", "rest.json"))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			client.Stop()
		}
	}()
	o.part("strangers learn nothing", (*operator).strangersLearnNothing)
	o.part("generations of minutes", (*operator).generationsPass)
	o.part("renewed on demand", (*operator).renewedOnDemand)
	o.part("a serving certificate is approved at any time", (*operator).servingIsApproved)
	o.part("an identity that has ended", (*operator).identityEnded)
	o.wantContainers(before)
	stopped = true
	if r := client.Stop(); len(r.Failures) > 0 {
		t.Errorf("requests failed while certificates were renewed: %v", r.Failures)
	}
}

func (o *operator) strangersLearnNothing() {
	if out := o.on("pai-1", "for p in version readyz; do curl -sk -o /dev/null -w '%{http_code} ' https://127.0.0.1:6443/$p; done; ls /etc/kubernetes/super-admin.conf 2>&1 | grep -c 'No such'"); strings.Fields(out)[0] != "401" ||
		strings.Fields(out)[1] != "200" || !strings.HasSuffix(strings.TrimSpace(out), "1") {
		o.t.Errorf("got %q, want 401 for the version, 200 for the health, and no super-admin.conf", out)
	}
	if out := o.kubectl("get configmap cluster-info -n kube-public --ignore-not-found"); strings.TrimSpace(out) != "" {
		o.t.Errorf("got %s, want nothing for machines that join", out)
	}
	if out := o.kubectl("get clusterrolebinding kubeadm:node-autoapprove-bootstrap --ignore-not-found"); strings.TrimSpace(out) != "" {
		o.t.Errorf("got %s, want no right that makes the holder of a join token any node", out)
	}
	o.eventually(3*time.Minute, "no join token is left", func() (bool, string) { // kubeadm makes one of a minute
		out := o.kubectl("get secrets -n kube-system --field-selector type=bootstrap.kubernetes.io/token --no-headers")
		return strings.TrimSpace(out) == "", out
	})
	if got := o.nameInAPI(); !strings.HasPrefix(got, "operator:") {
		o.t.Errorf("got %q, want the name of the operator", got)
	}
}

// nameInAPI is the name that the API knows from the kubeconfig that paictl keeps.
func (o *operator) nameInAPI() string {
	o.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(o.state, "clusters", "local", "admin.conf"))
	if err != nil {
		o.t.Fatal(err)
	}
	config.Timeout = time.Minute
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		o.t.Fatal(err)
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(context.Background(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
	return review.Status.UserInfo.Username
}

// ownCertificate is a certificate as `paictl cluster certificates -o json` lists it.
type ownCertificate struct {
	Path                string
	NotBefore, NotAfter time.Time
	Authority, Kubelet  bool
	Program             bool // the service that uses it renews it
}

func (o *operator) certificates() map[string]ownCertificate {
	o.t.Helper()
	var list []struct {
		Machine      string
		Certificates []ownCertificate
		Problems     []string
	}
	o.json(&list, "cluster", "certificates")
	all := map[string]ownCertificate{}
	for _, m := range list {
		if len(m.Problems) > 0 {
			o.t.Errorf("%s: %v", m.Machine, m.Problems)
		}
		for _, c := range m.Certificates {
			all[m.Machine+" "+c.Path] = c
		}
	}
	return all
}

// generationsPass gives the control plane certificates of 90 seconds: each is due
// after 60. Three generations pass, and the machines need no operator for it.
func (o *operator) generationsPass() {
	const lives = 90 * time.Second
	o.shorten("pai-1", lives, "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "etcd/server", "etcd/peer")
	o.on("pai-1", "systemctl restart pai-certificates")
	start := time.Now()
	for time.Since(start) < 2*lives {
		o.kubectl("get nodes")
		for name, c := range o.certificates() {
			if !c.NotAfter.After(time.Now()) {
				o.t.Fatalf("%s ended on %s", name, c.NotAfter)
			}
		}
		time.Sleep(10 * time.Second)
	}
	for name, c := range o.certificates() {
		if strings.HasPrefix(name, "pai-1 /etc/kubernetes/pki/etcd/server") && !c.NotAfter.After(start.Add(2*lives)) {
			o.t.Errorf("%s ends on %s, which is no later generation", name, c.NotAfter)
		}
	}
}

// shorten gives pairs of the control plane certificates that live a short time.
func (o *operator) shorten(machine string, lives time.Duration, names ...string) {
	o.t.Helper()
	for _, name := range names {
		signer := "ca"
		if strings.HasPrefix(name, "etcd/") || name == "apiserver-etcd-client" {
			signer = "etcd/ca"
		} else if name == "front-proxy-client" {
			signer = "front-proxy-ca"
		}
		path := "/etc/kubernetes/pki/" + name
		old := o.parsed(o.on(machine, "cat "+path+".crt"))
		key := o.parsedKey(o.on(machine, "cat "+path+".key"))
		o.write(machine, path+".crt", o.signed(signer, old, key.Public(), time.Now(), lives))
	}
}

func (o *operator) renewedOnDemand() {
	before := o.certificates()
	time.Sleep(2 * time.Second)
	o.run(5*time.Minute, "cluster", "certificates", "--renew", "--yes")
	for name, c := range o.certificates() {
		if was := before[name]; !c.Authority && !c.Kubelet && !c.Program && !c.NotBefore.After(was.NotBefore) {
			o.t.Errorf("%s was not renewed: it begins on %s", name, c.NotBefore)
		}
	}
	o.eventually(time.Minute, "all restarted programs are well", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "machine", "shell", "pai-2", "--", "systemctl is-active pai-kube-proxy pai-network pai-kubelet pai-certificates")
		return err == nil, out
	})
}

func (o *operator) servingIsApproved() {
	o.on("pai-2", "rm /var/lib/kubelet/pki/kubelet-server-current.pem; systemctl restart pai-kubelet")
	o.eventually(3*time.Minute, "the kubelet has a serving certificate again", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "machine", "shell", "pai-2", "--", "test -s /var/lib/kubelet/pki/kubelet-server-current.pem")
		return err == nil, out
	})
}

// identityEnded is a machine that was off past the end of its identity.
func (o *operator) identityEnded() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		o.t.Fatal(err)
	}
	subject := &x509.Certificate{Subject: pkix.Name{CommonName: "system:node:pai-2", Organization: []string{"system:nodes"}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	ended := o.signed("ca", subject, key.Public(), time.Now().Add(-48*time.Hour), 24*time.Hour)
	const file = "/var/lib/kubelet/pki/ended.pem"
	o.write("pai-2", file, ended+string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	o.on("pai-2", "ln -sfn "+file+" /var/lib/kubelet/pki/kubelet-client-current.pem; systemctl restart --no-block pai-kubelet")
	o.eventually(3*time.Minute, "the node is not ready", func() (bool, string) {
		out, err := o.tryKubectl("get node pai-2 --no-headers")
		return err == nil && strings.Contains(out, "NotReady"), out
	})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	// Kueue can have run on that machine. Then its objects cannot be read, which is no
	// outage of the API and must not keep the check for minutes.
	if out, err := o.try(ctx, nil, "check"); err == nil || !strings.Contains(out, "paictl cluster k8s-bootup") || strings.Contains(out, "the API is unavailable") {
		o.t.Errorf("the check does not name the command, or an outage: %v\n%s", err, out)
	}
	o.run(10*time.Minute, "cluster", "k8s-bootup", "--yes")
	o.eventually(time.Minute, "the node is ready", func() (bool, string) {
		out, err := o.tryKubectl("get node pai-2 --no-headers")
		return err == nil && !strings.Contains(out, "NotReady"), out
	})
}

// signed signs a certificate like another one with an authority of pai-1.
func (o *operator) signed(signer string, like *x509.Certificate, public crypto.PublicKey, from time.Time, lives time.Duration) string {
	o.t.Helper()
	ca := o.parsed(o.on("pai-1", "cat /etc/kubernetes/pki/"+signer+".crt"))
	key := o.parsedKey(o.on("pai-1", "cat /etc/kubernetes/pki/"+signer+".key"))
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: like.Subject, DNSNames: like.DNSNames,
		IPAddresses: like.IPAddresses, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: like.ExtKeyUsage, NotBefore: from, NotAfter: from.Add(lives)}, ca, public, key)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (o *operator) parsed(text string) *x509.Certificate {
	o.t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		o.t.Fatalf("no certificate: %q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

func (o *operator) parsedKey(text string) crypto.Signer {
	o.t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		o.t.Fatal("no key")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		o.t.Fatal(err)
	}
	return key
}

func (o *operator) write(machine, path, content string) {
	o.t.Helper()
	o.on(machine, fmt.Sprintf("echo %s | base64 -d > %s.t && mv %s.t %s", base64.StdEncoding.EncodeToString([]byte(content)), path, path, path))
}
