package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func placing() *Config {
	return &Config{Layout: Layout{
		MachineSKU: map[string]SKU{
			"K80":    {Mem: 223, CPU: SKUCPU{VCore: 24}, GPU: &SKUGPU{Type: "teslak80", Count: 2}},
			"c4-m16": {Mem: 64, CPU: SKUCPU{VCore: 4}}, // named by hand
			"plain":  {Mem: 8, CPU: SKUCPU{VCore: 4}},
			"any":    {Mem: 8},
		},
		MachineList: []Machine{{Hostname: "cp-01", HostIP: "10.1.0.1", Role: RoleControlPlane}, {Hostname: "gpu-01", HostIP: "10.1.0.2", Role: RoleWorker}},
	}}
}

func foundMachine(ip, name string, cores, memory int, gpus ...string) FoundMachine {
	return FoundMachine{Machine: Machine{HostIP: ip}, Hostname: name, Cores: cores, MemoryMiB: memory, GPUs: gpus}
}

func TestPlaceChoosesKinds(t *testing.T) {
	t.Parallel()
	a, problems := placing().Place([]FoundMachine{
		foundMachine("10.1.0.3", "GPU-02.example.org", 24, 229300, "Tesla K80", "Tesla K80"),
		foundMachine("10.1.0.4", "one-gpu", 24, 229300, "Tesla K80"),
		foundMachine("10.1.0.5", "plain-01", 4, 8200),
		foundMachine("10.1.0.6", "taken-kind", 4, 16400),
		foundMachine("10.1.0.7", "taken-kind-2", 4, 16400),
		foundMachine("10.1.0.8", "other-gpus", 24, 229300, "Tesla P100", "Tesla P100"),
	}, "")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var kinds []string
	for _, m := range a.Machines {
		kinds = append(kinds, m.MachineType)
	}
	want := []string{"K80", "c24-m223-1xtesla-k80", "plain", "c4-m16-2", "c4-m16-2", "c24-m223-2xtesla-p100"}
	if !slices.Equal(kinds, want) || len(a.SKUs) != 3 || !reflect.DeepEqual(a.SKUs["c4-m16-2"], SKU{Mem: 16, CPU: SKUCPU{VCore: 4}}) {
		t.Errorf("got %v with %+v, want %v", kinds, a.SKUs, want)
	}
	if names := a.Names(); names[0] != "gpu-02" || a.Machines[0].Role != RoleWorker {
		t.Errorf("got %+v", a.Machines[0])
	}
}

func TestPlaceTakesTheNamedKind(t *testing.T) {
	t.Parallel()
	a, problems := placing().Place([]FoundMachine{foundMachine("10.1.0.3", "gpu-02", 2, 4096)}, "K80")
	if len(problems) > 0 || a.Machines[0].MachineType != "K80" || len(a.SKUs) > 0 {
		t.Errorf("got %+v, %v", a, problems)
	}
	if _, problems = placing().Place(nil, "K8O"); len(problems) != 1 || !strings.Contains(problems[0], `did you mean "K80"?`) {
		t.Errorf("got %v, want the nearest name", problems)
	}
}

// All problems of names are said at once, each with the address of its machine.
func TestPlaceRefusesNames(t *testing.T) {
	t.Parallel()
	_, problems := placing().Place([]FoundMachine{
		foundMachine("10.1.0.3", "gpu-01", 4, 8200),
		foundMachine("10.1.0.4", "node_4", 4, 8200),
		foundMachine("10.1.0.5", "localhost", 4, 8200),
		foundMachine("10.1.0.6", "twin", 4, 8200),
		foundMachine("10.1.0.7", "TWIN.example.org", 4, 8200),
		foundMachine("10.1.0.8", "", 4, 8200),
	}, "")
	all := strings.Join(problems, "\n")
	for _, want := range []string{
		"10.1.0.3: its host name gpu-01 is also that of 10.1.0.2 in the layout",
		`10.1.0.4: its host name cannot be the name of a machine: "node_4" must have`,
		"10.1.0.5: its host name cannot be the name of a machine",
		"10.1.0.7: its host name twin is also that of 10.1.0.6",
		"10.1.0.8: its host name cannot be",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
	if len(problems) != 5 {
		t.Errorf("got %d problems:\n%s", len(problems), all)
	}
}

// All problems of addresses are said at once.
func TestTargets(t *testing.T) {
	t.Parallel()
	reach := Machine{SSHPort: 2222, Username: "pai", KeyfilePath: "/k"}
	targets, problems := placing().Targets([]string{"10.1.0.3", "10.1.0.2", "gpu-01", "fe80::1", "10.1.0.300", "10.1.0.3", "127.0.0.1", "10.1.0.4"}, reach)
	if len(targets) != 2 || targets[0] != (Machine{HostIP: "10.1.0.3", SSHPort: 2222, Username: "pai", KeyfilePath: "/k"}) || targets[1].HostIP != "10.1.0.4" {
		t.Errorf("got %+v", targets)
	}
	want := []string{
		"10.1.0.2 is in the layout already, as gpu-01 (10.1.0.2)",
		"gpu-01 is in the layout already, as gpu-01 (10.1.0.2)",
		"fe80::1 is not an IPv4 address, and PAI supports no other",
		`"10.1.0.300" is not an IP address`,
		"10.1.0.3 is named twice",
		"127.0.0.1 is not an address at which other machines can reach this one",
	}
	if !slices.Equal(problems, want) {
		t.Errorf("got %q, want %q", problems, want)
	}
}
