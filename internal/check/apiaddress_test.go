package check

import (
	"context"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

func TestAPIAddressOnMachines(t *testing.T) {
	t.Parallel()
	const address = "100.127.255.1"
	eth0 := inspect.Network{Interface: "eth0", Address: "10.9.0.12/24"}
	has := func(routes []inspect.Route, networks ...inspect.Network) observedMachine {
		return workerMachine(machineFacts{Condition: inspect.Condition{Networks: networks, Routes: routes}})
	}
	loopback := inspect.Network{Interface: "lo", Address: "100.127.255.1/32"}
	expect(t, []expectation{
		{"no such network", apiAddressOn(has([]inspect.Route{{Interface: "eth0", To: "0.0.0.0/0"}}, eth0), address), OK, ""},
		{"the address that PAI added", apiAddressOn(has(nil, eth0, loopback), address), OK, ""},
		{"a network of an interface", apiAddressOn(has(nil, eth0, inspect.Network{Interface: "tun0", Address: "100.100.1.2/10"}), address), Failed,
			"interface tun0 has 100.100.1.2/10, and 100.127.255.1 is in this network"},
		{"the address of an interface", apiAddressOn(has(nil, inspect.Network{Interface: "eth1", Address: "100.127.255.1/32"}), address), Failed, "interface eth1"},
		{"a network of the loopback interface", apiAddressOn(has(nil, inspect.Network{Interface: "lo", Address: "100.127.255.1/24"}), address), Failed, "interface lo"},
		{"a route", apiAddressOn(has([]inspect.Route{{Interface: "eth0", To: "100.64.0.0/10"}}, eth0), address), Failed,
			"interface eth0 has a route to 100.64.0.0/10"},
		{"unknown", apiAddressOn(has(nil), address), Unknown, ""},
	})
}

// The address is used with several control-plane machines only, also on machines that are in the
// cluster already.
func TestAPIAddressIsCheckedWhereItIsUsed(t *testing.T) {
	t.Parallel()
	for controlPlanes, want := range map[int]Outcome{1: OK, 3: Failed} {
		cfg := &config.Config{Kubernetes: config.Kubernetes{APIAddress: "100.127.255.1", PodClusterIPRange: "10.244.0.0/16", ServiceClusterIPRange: "10.96.0.0/16"}}
		in := Input{Config: cfg, Hosts: map[string]machine.Host{}}
		facts := map[string]*memo[machineFacts]{}
		for _, name := range []string{"m1", "m2", "m3"} {
			m := config.Machine{Hostname: name, Role: config.RoleWorker}
			if len(cfg.Layout.MachineList) < controlPlanes {
				m.Role = config.RoleControlPlane
			}
			cfg.Layout.MachineList = append(cfg.Layout.MachineList, m)
			in.Hosts[name] = silentHost{}
			in.World.Machines = append(in.World.Machines, plan.MachineState{Name: name, Roles: map[plan.Role]plan.RoleState{plan.RoleKubelet: {Link: "v0.11-pai"}}})
			facts[name] = observe(t.Context(), func(context.Context) (machineFacts, error) {
				return machineFacts{Condition: inspect.Condition{Networks: []inspect.Network{{Interface: "tun0", Address: "100.100.1.2/10"}}}}, nil
			})
		}
		results, err := ranges(t.Context(), &world{Input: in, machines: facts})
		if err != nil || len(results) != 3 {
			t.Fatalf("got %v, %v", results, err)
		}
		for _, r := range results {
			if r.Outcome != want {
				t.Errorf("%d control-plane machines: got %+v, want %s", controlPlanes, r, want)
			}
		}
	}
}
