package guard

import (
	"encoding/json"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"
)

// A file that omits the defaults is the same as the report of a kubelet that
// filled them in. Any other difference is a change.
func TestKubeletConfigFillsInDefaults(t *testing.T) {
	t.Parallel()
	// From /configz of kubelets 1.35 and 1.36, shortened.
	const running = `{"cgroupDriver":"cgroupfs","cpuManagerPolicy":"none","memoryManagerPolicy":"None","topologyManagerPolicy":"none",
		"maxPods":110,"evictionHard":{"imagefs.available":"15%","imagefs.inodesFree":"5%","memory.available":"100Mi","nodefs.available":"10%","nodefs.inodesFree":"5%"},
		"enforceNodeAllocatable":["pods"]}`
	var now kubeletFile
	if err := json.Unmarshal([]byte(running), &now); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		next  string
		rules []string // that the change violates
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
			for _, v := range violations(kubeletInPlaceRules(), f) {
				got = append(got, v.rule)
			}
			if !reflect.DeepEqual(got, test.rules) {
				t.Errorf("got violated rules %v, want %v", got, test.rules)
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
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
