//go:build e2e

package service

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/pai"
)

// gateSpec is what the source of Kueue says about a feature gate.
type gateSpec struct{ on, locked bool }

var (
	gateBlock = regexp.MustCompile(`(?m)^\t(\w+): \{\n((?:\t\t\{Version.*\n)+)\t\},`)
	gateLine  = regexp.MustCompile(`Version: version\.MustParse\("([\d.]+)"\), Default: (true|false),.*`)
	needsTAS  = regexp.MustCompile(`!features\.Enabled\(features\.TopologyAwareScheduling\) && features\.Enabled\(features\.(\w+)\)`)
	needsGate = regexp.MustCompile(`validateFeatureGateDependency\(features\.(\w+), ([^)]*)\)`)
	gateName  = regexp.MustCompile(`features\.(\w+)`)
	// touchesJobs are words in the names of gates that move or end admitted work.
	touchesJobs = regexp.MustCompile(`Preempt|Evict|Replace|Elastic|Retention|Requeue`)
)

// withoutEffect are gates with such a name whose feature PAI does not use.
var withoutEffect = []string{
	"CleanupProvisioningRequestsOnEviction", // no admission check
	"FairSharingPreemptWithinNominal",       // off where fair sharing is on
}

// gatesOf reads the feature gates of a version of Kueue from its source, and the gates
// that each of them needs.
func gatesOf(t *testing.T, module fs.FS, version string) (gates map[string]gateSpec, needs map[string][]string) {
	t.Helper()
	read := func(name string) string {
		data, err := fs.ReadFile(module, name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	gates, needs = map[string]gateSpec{}, map[string][]string{}
	for _, block := range gateBlock.FindAllStringSubmatch(read("pkg/features/kube_features.go"), -1) {
		for _, line := range gateLine.FindAllStringSubmatch(block[2], -1) {
			if pai.CompareVersions(version, "v"+line[1]) >= 0 {
				gates[block[1]] = gateSpec{line[2] == "true", strings.Contains(line[0], "LockToDefault: true")}
			}
		}
	}
	validation := read("pkg/config/validation.go")
	for _, m := range needsTAS.FindAllStringSubmatch(validation, -1) {
		needs[m[1]] = append(needs[m[1]], "TopologyAwareScheduling")
	}
	for _, m := range needsGate.FindAllStringSubmatch(validation, -1) {
		for _, other := range gateName.FindAllStringSubmatch(m[2], -1) {
			needs[m[1]] = append(needs[m[1]], other[1])
		}
	}
	return gates, needs
}

// The manager of Kueue does not start with a gate that it does not know or has locked
// to another value, or with one on that needs another. And no gate that is on by
// default moves, evicts, or preempts admitted work without a decision here.
func TestKueueKnowsItsGates(t *testing.T) {
	renderModules(t, func(t *testing.T, name string, src source, objs []*unstructured.Unstructured) {
		if name != "kueue" {
			return
		}
		var version string
		var module fs.FS
		for _, pin := range src.manifest.ServiceList {
			if pin.Name == name {
				whole := *pin.Chart
				whole.Path, pin.Chart = ".", &whole
				version, module = pin.Version, moduleChart(t, pin)
			}
		}
		gates, needs := gatesOf(t, module, version)
		if len(gates) < 20 {
			t.Fatalf("the source of Kueue %s has %d gates: %v", version, len(gates), gates)
		}
		set := renderedGates(t, objs)
		for gate, on := range set {
			spec, known := gates[gate]
			if !known || spec.locked && spec.on != on {
				t.Errorf("gate %s is set to %v, Kueue %s has %+v, known %v", gate, on, version, spec, known)
			}
		}
		on := func(gate string) bool {
			if value, isSet := set[gate]; isSet {
				return value
			}
			return gates[gate].on
		}
		for gate, others := range needs {
			for _, other := range others {
				if on(gate) && !on(other) {
					t.Errorf("gate %s is on without %s", gate, other)
				}
			}
		}
		for gate, spec := range gates {
			_, isSet := set[gate]
			if on(gate) && !spec.locked && !isSet && touchesJobs.MatchString(gate) && !slices.Contains(withoutEffect, gate) {
				t.Errorf("gate %s is on by default in Kueue %s, and not decided", gate, version)
			}
		}
	})
}

func renderedGates(t *testing.T, objs []*unstructured.Unstructured) map[string]bool {
	t.Helper()
	for _, o := range objs {
		text, found, _ := unstructured.NestedString(o.Object, "data", "controller_manager_config.yaml")
		if !found {
			continue
		}
		var config struct {
			FeatureGates map[string]bool `json:"featureGates"`
		}
		if err := yaml.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		return config.FeatureGates
	}
	t.Fatal("the configuration of Kueue was not rendered")
	return nil
}
