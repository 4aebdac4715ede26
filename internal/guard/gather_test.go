package guard

import (
	"encoding/json"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestKubeletConfigSaysTheSame: a file that leaves the defaults out and a
// kubelet that has filled them in are no change; any other difference is one.
func TestKubeletConfigSaysTheSame(t *testing.T) {
	t.Parallel()
	// As kubelets 1.35 and 1.36 answer /configz, shortened.
	const running = `{"cgroupDriver":"cgroupfs","cpuManagerPolicy":"none","memoryManagerPolicy":"None","topologyManagerPolicy":"none",
		"maxPods":110,"evictionHard":{"imagefs.available":"15%","imagefs.inodesFree":"5%","memory.available":"100Mi","nodefs.available":"10%","nodefs.inodesFree":"5%"},
		"enforceNodeAllocatable":["pods"]}`
	var now kubeletFile
	if err := json.Unmarshal([]byte(running), &now); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		next  string
		rules []string // that object to the change
	}{
		"all defaults":    {"", nil},
		"systemd":         {"cgroupDriver: systemd", []string{"cgroup-driver"}},
		"static policy":   {"cpuManagerPolicy: static", []string{"cpu-manager"}},
		"memory policy":   {"memoryManagerPolicy: Static", []string{"memory-manager"}},
		"topology policy": {"topologyManagerPolicy: restricted", []string{"topology-manager"}},
		"kube reserved":   {"kubeReserved: {cpu: 500m}", []string{"reservations"}},
		"system reserved": {"systemReserved: {memory: 1Gi}", []string{"reservations"}},
		"fewer pods":      {"maxPods: 50", []string{"reservations"}},
		"eviction":        {"evictionHard: {memory.available: 1Gi}", []string{"reservations"}},
		"reserved CPUs":   {"reservedSystemCPUs: 0-1", []string{"reservations"}},
		"enforcement":     {"enforceNodeAllocatable: []", []string{"reservations"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var next kubeletFile
			if err := yaml.Unmarshal([]byte(test.next), &next); err != nil {
				t.Fatal(err)
			}
			f := busy()
			f.Config = Known(Transition[KubeletConfig]{From: now.config(), To: next.config()})
			var got []string
			for _, o := range objections(swapRules(), f) {
				got = append(got, o.rule)
			}
			if !reflect.DeepEqual(got, test.rules) {
				t.Errorf("%v object, want %v", got, test.rules)
			}
		})
	}
}

func TestCgroupDriverOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                "cgroupfs",
		"  SystemdCgroup = true\n":        "systemd",
		"SystemdCgroup=true":              "systemd",
		"        SystemdCgroup = false\n": "cgroupfs",
		"# SystemdCgroup = true\n":        "cgroupfs",
		"[x]\nNoSystemdCgroup = true\n":   "cgroupfs",
	} {
		if got := cgroupDriverOf([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
