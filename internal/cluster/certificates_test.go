package cluster

import (
	"bytes"
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
)

func TestOldCertificates(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		left time.Duration
		ca   bool
		old  bool
	}{
		{"new", 364 * day, false, false},
		{"a third of a year", 122 * day, false, false},
		{"less than a third", 122*day - time.Second, false, true},
		{"minutes", 59 * time.Minute, false, true},
		{"expired", -time.Second, false, true},
		{"authority, which kubeadm does not renew", day, true, false},
	} {
		if got := isOld(&x509.Certificate{NotAfter: now.Add(c.left), IsCA: c.ca}, now); got != c.old {
			t.Errorf("%s: got %v, want %v", c.name, got, c.old)
		}
	}
}

func TestCertificatesOfKubeconfig(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	one := certificatePEM(t, "kube-scheduler", until)
	config := api.NewConfig()
	config.AuthInfos["user"] = &api.AuthInfo{ClientCertificateData: one, ClientKeyData: []byte("key")}
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := certificatesOfKubeconfig(data)
	if err != nil || len(got) != 1 || !got[0].NotAfter.Equal(until) {
		t.Errorf("got %v, %v, want the certificate of the user", got, err)
	}
	if _, err := certificatesOfKubeconfig([]byte("{")); err == nil {
		t.Error("a damaged kubeconfig was accepted")
	}
	if all, err := parseCertificates(append(one, one...)); err != nil || len(all) != 2 {
		t.Errorf("got %d certificates, %v, want 2", len(all), err)
	}
	if _, err := parseCertificates(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})); err == nil {
		t.Error("a damaged certificate was accepted")
	}
}

func TestWithServerChangesOnlyTheServer(t *testing.T) {
	t.Parallel()
	config := api.NewConfig()
	config.Clusters["kubernetes"] = &api.Cluster{Server: "https://10.9.0.11:6443", CertificateAuthorityData: []byte("ca")}
	config.AuthInfos["system:kube-scheduler"] = &api.AuthInfo{ClientCertificateData: []byte("cert"), ClientKeyData: []byte("key")}
	config.CurrentContext = "scheduler"
	before, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	const server = "https://api.pai.internal:6443"
	after, err := withServer(before, func(string) (string, error) { return server, nil })
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(string(before), "https://10.9.0.11:6443", server, 1); string(after) != want {
		t.Errorf("got:\n%s\nwant:\n%s", after, want)
	}
	again, err := withServer(after, func(old string) (string, error) { return old, nil })
	if err != nil || !bytes.Equal(again, after) {
		t.Errorf("an unchanged kubeconfig is written differently: %v\n%s", err, again)
	}
}

func certificatePEM(t *testing.T, name string, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
