//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestSameVersion changes what a release consists of and keeps its name. A
// cluster of a frozen release, booted by its own paictl, with a job gets, one after
// another, from this tree's paictl: a record of what was applied, a changed unit and
// prepare script, a changed flag of the API server, and a patched program of each of
// three roles. Each time the plan and the dry run have exactly the steps that this
// needs, and the job does not notice.
func TestSameVersion(t *testing.T) {
	s := &sameVersion{dir: t.TempDir()} // is removed last, because the machines are removed with a paictl in it
	s.operator = newOperator(t, "same")
	for _, chapter := range []struct {
		name string
		run  func(*sameVersion)
		slow bool // the first chapters replace these programs, too
	}{
		{"boot by the older paictl", (*sameVersion).bootOlder, false},
		{"what the older paictl left", (*sameVersion).fromOlder, false},
		{"a changed unit and prepare script", (*sameVersion).unitAndPreparation, false},
		{"a changed flag of the API server", (*sameVersion).flagOfAPIServer, false},
		{"a patched runc", (*sameVersion).patchedRunc, false},
		{"a patched API proxy", (*sameVersion).patchedAPIProxy, true},
		{"a patched network program", (*sameVersion).patchedNetwork, true},
	} {
		if chapter.slow && !testsAll() {
			continue // set by make test-all, and for one test
		}
		ok := s.part(chapter.name, func(o *operator) {
			outer := s.operator
			s.operator, s.workshop = o, workshop{o.t, s.dir}
			defer func() { outer.program, outer.cache, s.operator = o.program, o.cache, outer }()
			chapter.run(s)
		})
		if !ok && s.containers == nil {
			t.FailNow() // there is no cluster with a job
		}
	}
}

// sameVersion is one cluster whose version stays. Each chapter changes one thing
// more of what it consists of.
type sameVersion struct {
	*operator
	workshop   workshop
	dir        string // of the workshop
	containers []container
	processes  []string // of the containers
	older      string   // paictl of the frozen release
	tree       string   // a copy of the sources of that release, with patches
}

const (
	patched = "patched by the end-to-end tests"
	commit  = "c82e023" // builds the frozen release
)

var (
	changedUnit = change{"internal/cluster/units.go",
		`what: "services' addresses on this machine", service: []string{"Type=exec",`,
		`what: "services' addresses on this machine", service: []string{"Type=exec", "Environment=\"PAI_TEST=` + patched + `\"",`}
	changedPreparation = change{"internal/cluster/scripts/prepare.sh",
		"mkdir -p /opt/pai/role", "echo '" + patched + "' > /run/pai-test-prepared\nmkdir -p /opt/pai/role"}
	changedFlag = change{"internal/cluster/render.go",
		`set("encryption-provider-config", layout.EncryptionFile).`,
		`set("encryption-provider-config", layout.EncryptionFile).set("max-requests-inflight", "401").`}
	patchedProxy   = change{"cmd/pai-proxy/main.go", "\tflag.Parse()\n", "\tflag.Parse()\n\tlog.Print(\"" + patched + "\")\n"}
	patchedNetwork = change{"components/network/main.go", "\tflag.Parse()\n", "\tflag.Parse()\n\tklog.Info(\"" + patched + "\")\n"}
	patchedRunc    = change{"components/runc/v1.4.3/component.yaml", "cgo: true\n", "cgo: true\nstamps:\n  main.gitCommit: " + patched + "\n"}
)

// bootOlder boots the cluster with the paictl and the bundle of the frozen release.
func (s *sameVersion) bootOlder() {
	s.older = s.bootFrozen(older)
	s.submit("examples/train.yaml", 2)
	s.containers, s.processes = s.jobContainers(), s.jobProcesses()
}

// fromOlder writes down what the older paictl applied. All programs and settings
// are right; what renews certificates is new on the machine.
func (s *sameVersion) fromOlder() {
	s.json(&struct{}{}, "cluster", "status")
	s.run(time.Minute, "config", "check")
	s.reaches("cluster k8s-bootup", "cluster/bootstrap", "cluster/dns", "machine/pai-1/prepare files")
}

func (s *sameVersion) unitAndPreparation() {
	s.program = s.workshop.paictl(changedUnit, changedPreparation)
	s.reaches("upgrade apply --to "+older, "machine/pai-1/kube-proxy settings", "machine/pai-1/prepare files")
	s.says("PAI_TEST="+patched, "tr '\\0' '\\n' </proc/$(systemctl show -P MainPID pai-kube-proxy)/environ")
	s.says(patched, "cat /run/pai-test-prepared")
}

func (s *sameVersion) flagOfAPIServer() {
	s.program = s.workshop.paictl(changedUnit, changedPreparation, changedFlag)
	s.reaches("cluster k8s-bootup", "cluster/apiserver settings")
	s.says("--max-requests-inflight=401", `for unit in $(systemctl list-units --plain --no-legend --state=active 'pai-apiserver-*' | cut -d' ' -f1); do
		tr '\0' '\n' </proc/$(systemctl show -P MainPID $unit)/cmdline; done`)
}

func (s *sameVersion) patchedAPIProxy() {
	s.patch(patchedProxy)
	s.reaches("upgrade apply --to "+older, "machine/pai-1/api-proxy programs", "machine/pai-1/images", "machine/pai-1/programs")
	s.runsPatched("api-proxy")
}

func (s *sameVersion) patchedNetwork() {
	s.patch(patchedNetwork)
	s.reaches("cluster k8s-bootup", "machine/pai-1/images", "machine/pai-1/network programs", "machine/pai-1/programs")
	s.runsPatched("network")
	s.runsPatched("api-proxy")
}

// patchedRunc replaces runc and restarts containerd. New pods get the new runc,
// and the containers of the job keep the one that they were started with.
func (s *sameVersion) patchedRunc() {
	s.patch(patchedRunc)
	s.reaches("upgrade apply --to "+older, "machine/pai-1/containerd programs", "machine/pai-1/images",
		"machine/pai-1/programs", "machine/pai-1/uncordon")
	build := s.buildOf("containerd")
	s.says(build+"/bin/containerd\n", "readlink /proc/$(systemctl show -P MainPID pai-containerd)/exe")
	s.says(patched, build+"/bin/runc --version")
	s.kubectl("run later --image=pai.local/example:v1 --image-pull-policy=Never -- --interval 1s")
	s.eventually(time.Minute, "a new pod runs", func() (bool, string) {
		out, err := s.tryKubectl("get pod later -o jsonpath='{.status.phase} {.status.containerStatuses[0].containerID}'")
		return err == nil && strings.HasPrefix(out, "Running"), out
	})
	id := strings.TrimPrefix(s.kubectl("get pod later -o jsonpath={.status.containerStatuses[0].containerID}"), "containerd://")
	const tasks = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"
	s.says(build+"/bin/runc", "cat "+tasks+id+"/runtime")
	for _, c := range s.containers {
		if with := s.on("pai-1", "cat "+tasks+strings.TrimPrefix(c.ID, "containerd://")+"/runtime"); with == "" || strings.Contains(with, build) {
			s.t.Errorf("the container %s of the job is run by %q, not by the runc that started it", c.Container, with)
		}
	}
	s.kubectl("delete pod later --wait=false")
}

// patch adds a patch to the sources of the frozen release and builds it again.
func (s *sameVersion) patch(c change) {
	s.t.Helper()
	if s.tree == "" {
		s.tree, s.cache = s.workshop.sources(commit), s.workshop.cache()
	}
	s.workshop.change(s.tree, c)
	previous := *s.operator
	previous.program = s.older
	previous.run(20*time.Minute, "release", "build", older, "--source", s.tree)
}
