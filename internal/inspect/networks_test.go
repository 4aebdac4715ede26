package inspect_test

import (
	"reflect"
	"slices"
	"testing"

	"pai.dev/pai/internal/inspect"
)

func TestNetworksHaveTheirInterfaces(t *testing.T) {
	t.Parallel()
	r := booted(t)
	r.Networks = []inspect.Network{{Interface: "eth0", Address: "10.9.0.12/24"}, {Interface: "cni0", Address: "10.244.0.1/24"}, {Interface: "gone", Address: "10.9.0.13/24"}}
	r.Link("/sys/class/net/eth0", "../../devices/pci0000:00/0000:00:03.0/virtio0/net/eth0")
	r.Link("/sys/class/net/cni0", "../../devices/virtual/net/cni0")
	report := r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}, "p")
	want := []inspect.Network{{Interface: "cni0", Address: "10.244.0.1/24", Virtual: true}, {Interface: "eth0", Address: "10.9.0.12/24"}, {Interface: "gone", Address: "10.9.0.13/24"}}
	if report.Condition == nil || !reflect.DeepEqual(report.Condition.Networks, want) {
		t.Errorf("got %+v, %v, want %+v", report.Condition, report.Problems, want)
	}
}

func TestNetworksOfThisHost(t *testing.T) {
	t.Parallel()
	m := booted(t).Machine()
	m.Networks = nil
	report := m.Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}, "p")
	if report.Condition == nil || !slices.Contains(report.Condition.Networks, inspect.Network{Interface: "lo", Address: "127.0.0.1/8"}) {
		t.Errorf("got %+v, %v, want the loopback address", report.Condition, report.Problems)
	}
}
