package cluster

import (
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// A connection to the API can go to any control-plane machine, and their certificates have only
// the name of the API in common.
func TestKubeconfigVerifiesTheNameOfTheAPI(t *testing.T) {
	t.Parallel()
	kubeconfig, err := bootstrapKubeconfig("https://10.0.0.1:6443", []byte("authority"), "token")
	if err != nil {
		t.Fatal(err)
	}
	data, err := AtAnyControlPlane(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range config.Clusters {
		if c.Server != "https://10.0.0.1:6443" || c.TLSServerName != "api.pai.internal" {
			t.Errorf("got the server %s, verified as %q", c.Server, c.TLSServerName)
		}
	}
}
