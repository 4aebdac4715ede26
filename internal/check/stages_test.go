package check

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// A boot is repeated: after a kill, and after a clean, which leaves the identity of the
// machine and takes its kubelet. What a good machine has at each of these stages must stop
// no boot.
func TestAGoodMachineBootsAtEveryStage(t *testing.T) {
	t.Parallel()
	const version = pai.KubernetesVersion("v0.11-pai")
	kubelet := map[plan.Role]plan.RoleState{plan.RoleKubelet: {Link: version, Running: version}}
	for _, stage := range []struct {
		name  string
		state plan.MachineState
	}{
		{"before the first boot", plan.MachineState{}},
		{"prepared", plan.MachineState{Prepared: true}},
		{"with an identity and no kubelet", plan.MachineState{Prepared: true, Joined: true}},
		{"with a kubelet that has not started", plan.MachineState{Prepared: true, Joined: true, Roles: map[plan.Role]plan.RoleState{plan.RoleKubelet: {Link: version}}}},
		{"in the cluster", plan.MachineState{Prepared: true, Joined: true, Roles: kubelet}},
	} {
		t.Run(stage.name, func(t *testing.T) {
			t.Parallel()
			w := goodMachine(stage.state)
			ran := 0
			for _, c := range append(append(machineChecks(), hostChecks()...), strangerChecks()...) {
				if c.stages&Boot == 0 {
					continue
				}
				ran++
				results, err := c.evaluate(t.Context(), w)
				if err != nil {
					t.Errorf("%s: %v", c.ID, err)
				}
				for _, r := range results {
					if r.Outcome != OK {
						t.Errorf("%s: got %s: %s", c.ID, r.Outcome, r.Found)
					}
				}
			}
			if ran < 10 {
				t.Errorf("only %d checks ran", ran)
			}
		})
	}
}

// A machine that answers ssh and runs nothing else, such as one whose disk cannot be
// written, is left out of the plan. It does not make every check of the others unknown.
func TestMachineThatCannotBeObservedIsReportedOnce(t *testing.T) {
	t.Parallel()
	w := goodMachine(plan.MachineState{})
	const broken = "m2"
	w.Config.Layout.MachineList = append(w.Config.Layout.MachineList, config.Machine{Hostname: broken, HostIP: "10.0.0.2", Role: config.RoleWorker})
	w.Hosts[broken] = unusedHost{}
	w.World.Machines = append(w.World.Machines, plan.MachineState{Name: broken, Unreachable: "read-only file system"})
	w.machines[broken] = observe(context.Background(), func(context.Context) (machineFacts, error) {
		return machineFacts{}, errors.New("read-only file system")
	})
	var about []string
	for _, c := range append(append(machineChecks(), hostChecks()...), strangerChecks()...) {
		results, err := c.evaluate(t.Context(), w)
		if err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
		for _, r := range results {
			if r.Target == broken {
				about = append(about, c.ID)
			}
		}
	}
	if !slices.Equal(about, []string{"machine-reachable"}) {
		t.Errorf("%s is in the results of %v, want machine-reachable only", broken, about)
	}
}

// goodMachine is one machine, with what it has at a stage.
func goodMachine(state plan.MachineState) *world {
	const name, address = "m1", "10.0.0.1"
	state.Name, state.ControlPlane = name, true
	facts := machineFacts{Condition: inspect.Condition{
		MemoryTotal: 64 << 30, MemoryAvailable: 60 << 30, ListenersKnown: true,
		CgroupVersion: 2, Controllers: []string{"cpu", "cpuset", "memory", "pids"},
		Kernel:    map[string]bool{"overlay": true, "nftables": true, "bridge-nf": state.Prepared, "vxlan": true, "forwarding": state.Prepared},
		Names:     []inspect.Lookup{lookup("no-such-name", time.Millisecond, "")},
		Addresses: []string{"127.0.0.1", address},
		System:    &inspect.System{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)", Systemd: 252},
		Networks:  []inspect.Network{{Interface: "lo", Address: "127.0.0.1/8", Virtual: true}, {Interface: "eth0", Address: address + "/24"}},
		Strangers: &inspect.Strangers{},
		Disks:     []inspect.Disk{{Dir: layout.ProgramsDir, Mount: "/", Free: 40 << 30}},
	}}
	if state.Prepared {
		facts.Names = append(facts.Names, lookup(layout.APIName, time.Millisecond, "127.0.0.1"))
	}
	if len(state.Roles) > 0 {
		facts.KubeletConfig = []byte("kind: KubeletConfiguration\n")
	}
	w := &world{Input: Input{
		Config: &config.Config{Layout: config.Layout{MachineList: []config.Machine{{Hostname: name, HostIP: address, Role: config.RoleControlPlane}}}},
		Hosts:  map[string]machine.Host{name: unusedHost{}},
		World:  plan.World{Machines: []plan.MachineState{state}},
	}, machines: map[string]*memo[machineFacts]{}}
	w.machines[name] = observe(context.Background(), func(context.Context) (machineFacts, error) { return facts, nil })
	return w
}

// unusedHost stands for a connection: all that a check needs was observed.
type unusedHost struct{ machine.Host }
