package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// The API address is one that endpoints can have and that nothing else in the cluster has. With
// one control-plane machine only its form counts, because a configuration from before the key
// can use its default for something else.
func TestAPIAddressIsItsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, kubernetes string
		controlPlanes    int
		want             string // "": no problem
	}{
		{"the default", "", 3, ""},
		{"another one", "  api-address: 192.0.2.7\n", 3, ""},
		{"IPv6", "  api-address: fd00::1\n", 1, "api-address: fd00::1 is not an IPv4 address"},
		{"loopback", "  api-address: 127.0.0.9\n", 1, "api-address: 127.0.0.9 is not an address"},
		{"link-local", "  api-address: 169.254.1.1\n", 1, "api-address: 169.254.1.1 is a link-local address"},
		{"multicast", "  api-address: 224.0.0.9\n", 1, "api-address: 224.0.0.9 is not an address"},
		{"of pods", "  api-address: 10.244.7.7\n", 3, "api-address: 10.244.7.7 is in pod-cluster-ip-range 10.244.0.0/16"},
		{"of services", "  api-address: 10.96.0.9\n", 3, "api-address: 10.96.0.9 is in service-cluster-ip-range 10.96.0.0/16"},
		{"of a machine", "  api-address: 10.1.0.2\n", 3, "hostip: 10.1.0.2 is the api-address of kubernetes-configuration.yaml"},
		{"of pods, default", "  pod-cluster-ip-range: 100.64.0.0/10\n", 3, "api-address: 100.127.255.1 is in pod-cluster-ip-range 100.64.0.0/10"},
		{"of pods, one control plane", "  pod-cluster-ip-range: 100.64.0.0/10\n", 1, ""},
		{"of a machine, one control plane", "  api-address: 10.1.0.2\n", 1, ""},
	} {
		dir := writeGood(t)
		machines := "machine-list:\n"
		for n := range 3 {
			role := RoleWorker
			if n < c.controlPlanes {
				role = RoleControlPlane
			}
			machines += fmt.Sprintf("  - {hostname: m-%[1]d, hostip: 10.1.0.%[1]d, k8s-role: %[2]s}\n", n+1, role)
		}
		write(t, filepath.Join(dir, LayoutFile), "schema-version: 2\n"+machines)
		write(t, filepath.Join(dir, KubernetesFile), "schema-version: 2\nkubernetes:\n  version: v0.10-pai\n"+c.kubernetes)
		_, report := Check(dir)
		var about []string
		for _, p := range report.Problems {
			if text := fmt.Sprint(p); strings.Contains(text, "api-address") {
				about = append(about, text)
			}
		}
		if c.want == "" && len(about) > 0 || c.want != "" && (len(about) != 1 || !strings.Contains(about[0], c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, about, c.want)
		}
	}
}
