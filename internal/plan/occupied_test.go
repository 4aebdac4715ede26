package plan

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A boot on an empty control-plane machine beside workers whose jobs run would make a
// new cluster, whose kubelets would end these jobs.
func TestBootRefusesOccupiedMachines(t *testing.T) {
	in := lostControlPlane()
	newest := in.Releases[len(in.Releases)-1]
	pair := pai.Pair{Services: newest.Services.Version, Kubernetes: newest.Kubernetes.Version}
	if _, err := Boot(in, pair); err != nil {
		t.Fatalf("got %v, want that machines that nothing runs on are booted", err)
	}
	in.Occupied = []OccupiedMachine{{"w1", "a kubelet v0.10-pai, pods of jobs (train-0)"}, {"w3", "2 other containers"}}
	for current, hint := range map[pai.KubernetesVersion]string{"": "paictl cluster restore", "v0.10-pai": "layout.yaml"} {
		in.World.Current.Kubernetes = current
		_, err := Boot(in, pair)
		if pai.CodeOf(err) != pai.CodeRefused {
			t.Fatalf("got %v, want a refusal", err)
		}
		for _, want := range []string{"w1 has a kubelet v0.10-pai, pods of jobs (train-0)", "w3 has 2 other containers"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		next := pai.NextOf(err)
		if !strings.Contains(next, hint) || strings.Contains(next, "k8s-clean") != (current == "") {
			t.Errorf("got hint %q, want %q, and k8s-clean only without a cluster", next, hint)
		}
	}
}
