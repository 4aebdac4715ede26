package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// The version in the kubeadm configuration marks the step as done, so a run that
// fails earlier must not have written it.
func TestBootstrapWritesTheVersionLast(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	away := errors.New("API server unavailable")
	var phases []string
	c := &cluster{Deps: Deps{
		Config: cfg,
		Hosts:  map[string]machine.Host{cfg.ControlPlane().Hostname: hostWithVersion{}},
		Kube:   func(context.Context) (*kube.Client, error) { return nil, away },
		Kubeadm: func(_ context.Context, _ []byte, script string) (string, error) {
			for line := range strings.Lines(script) {
				if _, phase, found := strings.Cut(line, `"$kubeadm" init phase `); found {
					phase, _, _ = strings.Cut(phase, " --config")
					phases = append(phases, phase)
				}
			}
			return "", nil
		},
	}}
	if err := Doers(c.Deps)[plan.KindBootstrap].Do(t.Context(), plan.Step{Kind: plan.KindBootstrap, To: "v0.10-pai"}); !errors.Is(err, away) {
		t.Fatalf("bootstrap ended with %v", err)
	}
	if want := []string{"kubeconfig super-admin", "bootstrap-token", "upload-config kubelet"}; !slices.Equal(phases, want) {
		t.Errorf("phases before the API outage: got %q, want %q", phases, want)
	}
}

// hostWithVersion is a machine that has one version.
type hostWithVersion struct{ machine.Host }

func (hostWithVersion) Name() string { return testConfig().ControlPlane().Hostname }

func (hostWithVersion) ReadFile(context.Context, string) ([]byte, error) {
	return json.Marshal(installed{Kubernetes: "v0.10-pai", Upstream: "v1.36.3"})
}
