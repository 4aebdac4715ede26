package plan_test

import (
	"fmt"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// supported are two rows of a support plan.
func supported() []release.Manifest {
	return []release.Manifest{{
		Metadata:   release.Metadata{Name: "v0.9"},
		Services:   release.ServicesRow{Version: "v0.9", UpgradableSince: "v0.9"},
		Kubernetes: release.KubernetesRow{Version: "v0.9-pai", Upstream: "v1.35.4", CompatibleSince: "v0.9-pai", UpgradableSince: "v0.9-pai"},
	}, {
		Metadata:   release.Metadata{Name: "v0.10"},
		Services:   release.ServicesRow{Version: "v0.10", UpgradableSince: "v0.9"},
		Kubernetes: release.KubernetesRow{Version: "v0.10-pai", Upstream: "v1.36.3", CompatibleSince: "v0.10-pai", UpgradableSince: "v0.9-pai"},
	}}
}

// Services v0.10 need Kubernetes v0.10-pai, so Kubernetes is upgraded first.
func ExampleHops() {
	from := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}
	hops, err := plan.Hops(supported(), from, plan.Target{Release: "v0.10"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, h := range hops {
		fmt.Println(h.Kind, h.From, "to", h.To)
	}
	// Output:
	// kubernetes v0.9-pai to v0.10-pai
	// services v0.9 to v0.10
}

// An error names the rule and the release that forbid a pair.
func ExampleCompatible() {
	err := plan.Compatible(supported(), pai.Pair{Services: "v0.10", Kubernetes: "v0.9-pai"})
	fmt.Println(err)
	// Output:
	// services v0.10 run on Kubernetes v0.10-pai or newer, not on v0.9-pai (release v0.10)
}

// Only the fields that differ are listed.
func ExampleFields() {
	before := map[string]any{"replicas": 1.0, "image": "kueue:v0.14"}
	after := map[string]any{"replicas": 2.0, "image": "kueue:v0.14"}
	for _, f := range plan.Fields(before, after) {
		fmt.Println(f.Path, f.Old, "to", f.New)
	}
	// Output:
	// replicas 1 to 2
}
