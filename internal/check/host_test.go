package check

import (
	"slices"
	"testing"
	"time"

	"pai.dev/pai/internal/inspect"
)

func TestResourceManagerPolicies(t *testing.T) {
	t.Parallel()
	managers := func(config, cpu, memory string) Result {
		return resourceManagers(workerMachine(machineFacts{Condition: inspect.Condition{KubeletConfig: []byte(config), CPUState: []byte(cpu), MemoryState: []byte(memory)}}))
	}
	fresh := func(cpu, memory string) Result {
		return resourceManagers(unprepared(workerMachine(machineFacts{Condition: inspect.Condition{CPUState: []byte(cpu), MemoryState: []byte(memory)}})))
	}
	expect(t, []expectation{
		{"no policy", managers("kind: KubeletConfiguration\n", `{"policyName":"none"}`, `{"policyName":"None"}`), OK, ""},
		{"no state file", managers("cpuManagerPolicy: none\n", "", ""), OK, ""},
		{"static policy", managers("cpuManagerPolicy: static\n", `{"policyName":"static"}`, ""), Warning, `CPU policy is "static"`},
		{"CPU policy changed", managers("cpuManagerPolicy: none\n", `{"policyName":"static"}`, ""), Failed, `contains "static"`},
		{"memory policy changed", managers("memoryManagerPolicy: Static\n", "", `{"policyName":"None"}`), Failed, "memory_manager_state"},
		{"damaged state file", managers("cpuManagerPolicy: none\n", "{", ""), Failed, "damaged"},
		{"unknown", managers("", "", ""), Unknown, ""},
		{"invalid configuration", managers("\t", "", ""), Unknown, ""},
		{"nothing left before the first boot", fresh("", ""), OK, ""},
		{"left by another kubelet", fresh(`{"policyName":"static"}`, ""), Failed, `cpu_manager_state contains "static"`},
		{"left by another kubelet for memory", fresh("", `{"policyName":"Static"}`), Failed, "memory_manager_state"},
	})
}

func TestAddressOfTheLayout(t *testing.T) {
	t.Parallel()
	with := func(addresses ...string) Result {
		m := workerMachine(machineFacts{Condition: inspect.Condition{Addresses: addresses}})
		m.HostIP = "10.9.0.12"
		return address(m)
	}
	expect(t, []expectation{
		{"one of several", with("10.9.0.12", "127.0.0.1", "192.0.2.2"), OK, "10.9.0.12 is an address of the machine"},
		{"that of a router", with("127.0.0.1", "192.0.2.2"), Failed, "10.9.0.12 is not an address of the machine, which has 192.0.2.2"},
		{"the beginning of another", with("10.9.0.125"), Failed, "which has 10.9.0.125"},
		{"none", with("127.0.0.1"), Failed, "it has none besides its loopback address"},
		{"unknown", with(), Unknown, ""},
	})
}

func TestHostFeatures(t *testing.T) {
	t.Parallel()
	all := func(without ...string) observedMachine {
		f := machineFacts{Condition: inspect.Condition{Kernel: map[string]bool{}, CgroupVersion: 2, Controllers: []string{"cpu", "cpuset", "memory", "pids"}}}
		for _, k := range []string{"overlay", "nftables", "bridge-nf", "vxlan", "forwarding"} {
			f.Kernel[k] = !slices.Contains(without, k)
		}
		return workerMachine(f)
	}
	nothing := workerMachine(machineFacts{})
	native, v1, noMemory, swapped := all("overlay"), all(), all(), all()
	native.Overlay = true
	v1.CgroupVersion = 1
	noMemory.Controllers = []string{"cpu", "cpuset", "pids"}
	swapped.Swap = map[string]int64{"/dev/sda2": 1 << 30}
	swapped1 := v1
	swapped1.Swap = swapped.Swap
	expect(t, []expectation{
		{"all kernel features", kernelOf(all(), true), OK, ""},
		{"no nftables", kernelOf(all("nftables"), false), Failed, "nftables"},
		{"no overlay", kernelOf(all("overlay"), false), Failed, "overlay"},
		{"no overlay on an overlay", kernelOf(native, false), OK, ""},
		{"forwarding reset", kernelOf(all("forwarding"), false), Failed, "ip_forward"},
		{"forwarding before the first boot", kernelOf(unprepared(all("forwarding")), false), OK, ""},
		{"no br_netfilter", kernelOf(all("bridge-nf"), false), Warning, "br_netfilter"},
		{"no vxlan, several machines", kernelOf(all("vxlan"), true), Warning, "vxlan"},
		{"no vxlan, one machine", kernelOf(all("vxlan"), false), OK, ""},
		{"kernel unknown", kernelOf(nothing, false), Unknown, ""},

		{"cgroup v2", cgroups(all()), OK, "cgroup v2"},
		{"cgroup v1", cgroups(v1), Warning, "cgroup v1"},
		{"no memory controller", cgroups(noMemory), Failed, "memory"},
		{"cgroups unknown", cgroups(nothing), Unknown, ""},

		{"no swap", swap(all()), OK, ""},
		{"swap", swap(swapped), Warning, "/dev/sda2 (1.0 GiB)"},
		{"swap and cgroup v1", swap(swapped1), Warning, "pods are swapped"},
	})
}

func lookup(name string, took time.Duration, address string) inspect.Lookup {
	return inspect.Lookup{Name: name, Took: took, Address: address}
}

func TestNameLookups(t *testing.T) {
	t.Parallel()
	addresses := map[string]string{"api.pai.internal": "127.0.0.1", "m1": "10.0.0.1"}
	machine := func(l ...inspect.Lookup) observedMachine {
		return controlPlaneMachine(machineFacts{Condition: inspect.Condition{Names: l}})
	}
	const ms = time.Millisecond
	expect(t, []expectation{
		{"answered", namesOf(machine(lookup("m1", ms, "10.0.0.1"), lookup("api.pai.internal", ms, "127.0.0.1"), lookup("x", 20*ms, "")), addresses), OK, ""},
		{"no answer", namesOf(machine(lookup("x", 3001*ms, "")), addresses), Failed, "the lookup of x had no answer after 3s"},
		{"slow answer", namesOf(machine(lookup("x", 1500*ms, "")), addresses), OK, ""},
		{"machine name with a different address", namesOf(machine(lookup("m1", ms, "10.9.9.9")), addresses), Warning, "m1, resolves to 10.9.9.9, want 10.0.0.1"},
		{"machine name with a loopback address", namesOf(machine(lookup("m1", ms, "127.0.1.1")), addresses), OK, ""},
		{"API name without an address", namesOf(machine(lookup("api.pai.internal", ms, "")), addresses), Failed, "api.pai.internal resolves to unknown"},
		{"before the first boot", namesOf(unprepared(machine(lookup("api.pai.internal", ms, ""))), addresses), OK, ""},
		{"unknown", namesOf(machine(), addresses), Unknown, ""},
	})
}
