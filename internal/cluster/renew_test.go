package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

func TestRenewCertificates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		used   time.Duration // of a life of an hour
		renews bool
	}{
		{"fresh", 10 * time.Minute, false},
		{"less than a third is left", 41 * time.Minute, true},
		{"ended", 2 * time.Hour, true},
	} {
		h := scripted(t).hosts["pai-1"]
		ca := authorityOn(t, h.Write)
		end := time.Now().Add(time.Hour - c.used)
		for _, file := range []string{layout.ControllerManagerConf, layout.SchedulerConf} {
			h.Write(file, kubeconfigOf(t, ca, end.Add(-time.Hour), end))
			h.Programs["systemctl show --timestamp=unix --property=ActiveState,ExecMainStartTimestamp pai-"+strings.TrimSuffix(file[len(layout.KubernetesDir)+1:], ".conf")+".service"] = "ActiveState=inactive\n"
		}
		if err := (&cluster{Deps: Deps{Config: testConfig()}}).renewCertificates(t.Context(), h); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, file := range []string{layout.ControllerManagerConf, layout.SchedulerConf} {
			data, err := h.ReadFile(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			config, err := clientcmd.Load(data)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(config.AuthInfos["user"].ClientCertificateData)
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil || cert.NotAfter.After(end.Add(time.Minute)) != c.renews {
				t.Errorf("%s: %s ends on %s, %v; renewed %v, want %v", c.name, file, cert.NotAfter, err, !c.renews, c.renews)
			}
			if got := config.Clusters["kubernetes"].Server; got != layout.APIServerURL(6443) {
				t.Errorf("%s: %s names %s", c.name, file, got)
			}
		}
	}
}

// Certificates of another Kubernetes are refused; those of PAI are kept, also if an
// older release made them, or if it was killed while it made them.
func TestClaimPKI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files map[string]string
		wrong string
	}{
		{"an empty machine", nil, ""},
		{"another authority", map[string]string{layout.PKIDir + "/ca.crt": "old", layout.PKIDir + "/ca.key": "old"}, layout.PKIDir + "/ca.crt"},
		{"another authority without its key", map[string]string{layout.PKIDir + "/ca.crt": "old"}, layout.PKIDir + "/ca.crt"},
		{"a certificate of etcd", map[string]string{layout.PKIDir + "/etcd/server.crt": "old"}, "etcd/server.crt"},
		{"a kubeconfig", map[string]string{layout.AdminConf: "old"}, layout.AdminConf},
		{"that of PAI v0.10", map[string]string{layout.PKIDir + "/ca.crt": "own", layout.CAFile: "own", layout.AdminConf: "own"}, ""},
		{"another one beside the copy of a previous cluster", map[string]string{layout.PKIDir + "/ca.crt": "old", layout.CAFile: "own"}, layout.PKIDir + "/ca.crt"},
		{"interrupted", map[string]string{layout.PKIMark: "PAI", layout.PKIDir + "/ca.crt": "own"}, ""},
	} {
		k := newComparedCluster(t)
		h := k.hosts["pai-1"]
		shell(t, h)
		for name, content := range c.files {
			h.Write(name, content)
		}
		for range 2 { // also after it is marked
			err := claimPKI(t.Context(), h)
			if c.wrong == "" && err != nil || c.wrong != "" && (pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.wrong)
			}
		}
	}
}

func TestAdminKubeconfig(t *testing.T) {
	t.Parallel()
	h := scripted(t).hosts["pai-1"]
	if _, err := AdminKubeconfig(t.Context(), h, "10.9.0.11", "ann@desk"); err == nil {
		t.Error("got no error without a kubeconfig")
	}
	ca := authorityOn(t, h.Write)
	own := kubeconfigOf(t, ca, time.Now(), time.Now().Add(time.Hour))
	h.Write(layout.AdminConf, own)
	got, err := AdminKubeconfig(t.Context(), h, "10.9.0.11", "ann@desk")
	if err != nil || !strings.Contains(string(got), "https://10.9.0.11:6443") {
		t.Fatalf("got %s, %v, want the address of the machine", got, err)
	}
	config, err := clientcmd.Load(got)
	if err != nil {
		t.Fatal(err)
	}
	before, err := clientcmd.Load([]byte(own))
	if err != nil {
		t.Fatal(err)
	}
	user := config.AuthInfos["user"]
	block, _ := pem.Decode(user.ClientCertificateData)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || cert.Subject.CommonName != "operator:ann@desk" || time.Until(cert.NotAfter) > 24*time.Hour {
		t.Errorf("got %s until %s, %v", cert.Subject, cert.NotAfter, err)
	}
	if string(user.ClientKeyData) == string(before.AuthInfos["user"].ClientKeyData) {
		t.Error("got the key of the administrator, which has to stay on the machine")
	}
}

// testAuthority is the authority of a made-up cluster.
type testAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func authorityOn(t *testing.T, write func(name, content string)) testAuthority {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	cert, keyPEM, key := signFor(t, template, nil)
	write(layout.PKIDir+"/ca.crt", string(cert))
	write(layout.PKIDir+"/ca.key", string(keyPEM))
	block, _ := pem.Decode(cert)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return testAuthority{parsed, key}
}

func kubeconfigOf(t *testing.T, ca testAuthority, from, until time.Time) string {
	t.Helper()
	cert, key, _ := signFor(t, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "user"}, NotBefore: from, NotAfter: until}, &ca)
	config := api.NewConfig()
	config.Clusters["kubernetes"] = &api.Cluster{Server: "https://10.9.0.11:6443"}
	config.AuthInfos["user"] = &api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// signFor signs with an authority, or makes one.
func signFor(t *testing.T, template *x509.Certificate, ca *testAuthority) (cert, keyPEM []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if ca == nil {
		ca = &testAuthority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}), key
}
