package inspect_test

import (
	"slices"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

func TestStrangersFindsCertificatesOfAnotherKubernetes(t *testing.T) {
	t.Parallel()
	theirs := endedCertificate(t)
	kubeadm := map[string]string{layout.PKIDir + "/ca.crt": theirs, layout.PKIDir + "/etcd/ca.key": "key", layout.KubernetesDir + "/admin.conf": "{}", layout.KubernetesDir + "/notes.txt": ""}
	found := []string{layout.KubernetesDir + "/admin.conf", layout.PKIDir + "/ca.crt", layout.PKIDir + "/etcd/ca.key", layout.PKIDir + "/etcd/server.crt"}
	for name, test := range map[string]struct {
		own  map[string]string
		want []string
	}{
		"another Kubernetes":           {nil, found},
		"the mark of PAI":              {map[string]string{layout.PKIMark: "PAI"}, nil},
		"the authority of v0.10":       {map[string]string{layout.CAFile: theirs}, nil},
		"another authority than v0.10": {map[string]string{layout.CAFile: "ours"}, found},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := booted(t)
			write(r, kubeadm)
			write(r, test.own)
			if got := strangersOf(t, r).PKI; !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func write(r *inspecttest.Root, files map[string]string) {
	for name, text := range files {
		r.Write(name, text)
	}
}
