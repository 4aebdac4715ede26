//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAddMachine adds two machines to a cluster of one machine, which runs a job. A machine with what
// another Kubernetes left is refused, and the layout stays as it was, byte by byte. Without it,
// both are added in one plan that boots them in parallel; the job does not notice, and a job
// runs on one of them.
func TestAddMachine(t *testing.T) {
	inTestAll(t, "minutes on another cluster")
	o := newOperator(t, "add")
	o.run(15*time.Minute, "up", "--machines", "1", "--yes")
	o.submit("test/e2e/testdata/hold.yaml", 2)
	o.run(5*time.Minute, "machine", "up", "--count", "3")
	addresses := o.addressesOf("pai-2", "pai-3")

	o.part("mistakes are all named, and nothing is changed", func(o *operator) { o.additionNamesMistakes(addresses) })
	o.part("host keys are shown, and nothing is trusted without a word", func(o *operator) { o.additionShowsHostKeys(addresses) })
	o.part("what another Kubernetes left refuses the machine", func(o *operator) { o.additionRefusesRemains(addresses) })
	o.part("two machines are added in one plan under a job", func(o *operator) { o.machinesAreAdded(addresses) })
	o.part("a job runs on an added machine", (*operator).jobRunsOnAdded)
	o.part("an added machine is removed", func(o *operator) {
		o.run(10*time.Minute, "machine", "remove", "pai-3", "--yes")
		o.layoutWithout("pai-2") // fails if the layout does not have it
	})
}

// addressesOf are the addresses of local machines.
func (o *operator) addressesOf(names ...string) []string {
	o.t.Helper()
	var list []struct{ Name, Address string }
	o.json(&list, "machine", "list")
	var addresses []string
	for _, m := range list {
		if slices.Contains(names, m.Name) {
			addresses = append(addresses, m.Address)
		}
	}
	if len(addresses) != len(names) {
		o.t.Fatalf("got %v of %v: %+v", addresses, names, list)
	}
	return addresses
}

// layoutText is the file with the machines of the local cluster.
func (o *operator) layoutText() string {
	o.t.Helper()
	data, err := os.ReadFile(filepath.Join(o.state, "clusters/local/config/layout.yaml"))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(data)
}

func (o *operator) additionNamesMistakes(addresses []string) {
	before := o.layoutText()
	err := o.refused(2, "machine", "add", addresses[0], addresses[0], "10.0.0.300", "pai-1", "--accept-host-keys", "--yes")
	for _, want := range []string{addresses[0] + " is named twice", `"10.0.0.300" is not an IP address`, "pai-1 is in the layout already"} {
		if !strings.Contains(err.Error(), want) {
			o.t.Errorf("no %q in: %v", want, err)
		}
	}
	if o.layoutText() != before {
		o.t.Error("a refusal changed the layout")
	}
}

func (o *operator) additionShowsHostKeys(addresses []string) {
	before := o.layoutText()
	err := o.refused(3, append([]string{"machine", "add"}, addresses...)...)
	for _, want := range append(slices.Clone(addresses), "SHA256:", "--accept-host-keys", "--known-hosts") {
		if !strings.Contains(err.Error(), want) {
			o.t.Errorf("no %q in: %v", want, err)
		}
	}
	if o.layoutText() != before {
		o.t.Error("a refusal changed the layout")
	}
}

// additionRefusesRemains leaves what kubeadm and a network plugin of another cluster leave. The
// machine without them is refused as well: one plan adds both, or none.
func (o *operator) additionRefusesRemains(addresses []string) {
	const other = "/etc/cni/net.d/00-other.conflist"
	before, jobs := o.layoutText(), o.containersOf("hold")
	o.on("pai-3", "mkdir -p /etc/kubernetes/manifests /etc/cni/net.d && touch /etc/kubernetes/manifests/x.yaml && echo '{}' >"+other)
	err := o.refusedWithin(10*time.Minute, 3, append([]string{"machine", "add", "--accept-host-keys", "--yes"}, addresses...)...)
	if !strings.Contains(err.Error(), "pai-3") || !strings.Contains(err.Error(), "/etc/") {
		o.t.Errorf("it names neither the machine nor a file: %v", err)
	}
	if o.layoutText() != before {
		o.t.Error("a refusal changed the layout")
	}
	if out := o.kubectl("get nodes -o name"); strings.TrimSpace(out) != "node/pai-1" {
		o.t.Errorf("got the nodes %s", out)
	}
	o.wantContainersOf("hold", jobs)
	o.on("pai-3", "rm -r /etc/kubernetes "+other)
}

func (o *operator) machinesAreAdded(addresses []string) {
	t := o.t
	before, jobs := o.layoutText(), o.containersOf("hold")
	add := append([]string{"machine", "add", "--accept-host-keys", "--yes"}, addresses...)
	var p struct {
		Added []struct{ Name, Address, SKU string }
		Steps []struct{ Target string }
	}
	o.json(&p, append(add, "--dry-run")...)
	if len(p.Added) != 2 || p.Added[0].Name != "pai-2" || p.Added[0].SKU == "" || len(p.Steps) == 0 {
		t.Errorf("the dry run shows %+v", p)
	}
	if o.layoutText() != before {
		t.Error("a dry run changed the layout")
	}
	o.run(15*time.Minute, add...)
	after := o.layoutText()
	for _, line := range strings.Split(before, "\n") {
		if !strings.Contains(after, line) {
			t.Errorf("the layout no longer has the line %s", line)
		}
	}
	for _, name := range []string{"pai-2", "pai-3"} {
		if !strings.Contains(after, "hostname: "+name) {
			t.Errorf("the layout has no %s:\n%s", name, after)
		}
		o.kubectl("wait --for=condition=Ready --timeout=60s node/" + name)
	}
	o.wantContainersOf("hold", jobs)
	if out := o.run(time.Minute, "config", "history"); !strings.Contains(out, "k8s-bootup") {
		t.Errorf("no revision of the addition:\n%s", out)
	}
	if u := o.unconfigured(); len(u.Nodes)+len(u.Machines) > 0 {
		t.Errorf("not in the configuration: %+v", u)
	}
	if err := o.refused(2, add...); !strings.Contains(err.Error(), "in the layout already") {
		t.Errorf("the second addition says: %v", err)
	}
}

// jobRunsOnAdded keeps a job off the other machines.
func (o *operator) jobRunsOnAdded() {
	o.kubectl("cordon pai-1 pai-3")
	o.run(time.Minute, "job", "submit", "examples/train.yaml")
	o.eventually(3*time.Minute, "the job runs on the added machine", func() (bool, string) {
		there := o.containersOf("train")
		return len(there) == 2 && there[0].Machine == "pai-2" && there[1].Machine == "pai-2", o.kubectl("get pods -A -o wide")
	})
	o.kubectl("uncordon pai-1 pai-3")
}
