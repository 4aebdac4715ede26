package cluster

import (
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"pai.dev/pai/internal/layout"
)

func TestRenewCertificates(t *testing.T) {
	t.Parallel()
	fresh, old := time.Now().Add(300*24*time.Hour), time.Now().Add(100*24*time.Hour)
	for _, c := range []struct {
		name                   string
		certificate, scheduler time.Time
		renews                 bool
	}{
		{"all fresh", fresh, fresh, false},
		{"old certificate", old, fresh, true},
		{"old kubeconfig", fresh, old, true},
	} {
		h := &fakeHost{files: map[string]string{
			installedFile("v0.10-pai"): `{"upstream":"v1.36.3"}`,
			controllerManagerConf:      kubeconfigOf(t, fresh),
			schedulerConf:              kubeconfigOf(t, c.scheduler),
		}}
		h.run = func(script string) (string, error) {
			if strings.Contains(script, "cat -- ") {
				return string(certificatePEM(t, "kube-apiserver", c.certificate)), nil
			}
			if strings.HasPrefix(script, "[ ! -x") { // which build of the version is there
				return "v0.10-pai", nil
			}
			return "", nil
		}
		cl := &cluster{Deps: Deps{Config: testConfig()}}
		if err := cl.renewCertificates(t.Context(), h, "v0.10-pai"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := h.ran("certs renew all"); got != c.renews {
			t.Errorf("%s: got renewed %v, want %v", c.name, got, c.renews)
		}
		for _, file := range []string{controllerManagerConf, schedulerConf} {
			if want := "server: " + layout.APIServerURL(6443) + "\n"; !strings.Contains(h.files[file], want) {
				t.Errorf("%s: %s has no %q:\n%s", c.name, file, want, h.files[file])
			}
		}
	}
}

func kubeconfigOf(t *testing.T, until time.Time) string {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["kubernetes"] = &api.Cluster{Server: "https://10.9.0.11:6443"}
	config.AuthInfos["user"] = &api.AuthInfo{ClientCertificateData: certificatePEM(t, "user", until)}
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
