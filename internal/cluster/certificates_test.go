package cluster

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

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
