//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/test/chaos"
)

// TestUpgradeThreeControlPlanes replaces etcd and every program of Kubernetes on three
// control-plane machines and a worker, by another build of the same release: once
// undisturbed, and once back, with the plug of a machine pulled while its etcd is replaced.
// No container of the job is touched, and no request of a client that never retries fails.
func TestUpgradeThreeControlPlanes(t *testing.T) {
	inTestAll(t, "ten minutes on another cluster")
	w := workshop{t, t.TempDir()}
	o := newOperator(t, "upgradethree")
	o.cache = w.cache() // in which another build replaces the bundle
	o.buildBundle(newer)
	o.run(20*time.Minute, "up", "--machines", "4", "--control-planes", "3", "--yes")
	o.onlyWorker()
	o.submit("test/e2e/testdata/hold.yaml", 2)
	before := o.containersOf("hold")
	stopClient := o.startClient()

	tree := w.sources("HEAD")
	w.change(tree, change{"components/etcd/v3.7.3/component.yaml", "programs:\n", "stamps:\n  go.etcd.io/etcd/api/v3/version.GitSHA: " + otherBuild + "\nprograms:\n"})
	w.change(tree, change{"components/kubernetes/v1.37/component.yaml", `k8s.io/component-base/version.gitCommit: ""`, "k8s.io/component-base/version.gitCommit: " + otherBuild})
	o.run(20*time.Minute, "release", "build", newer, "--source", tree)
	o.part("every program is replaced", func(o *operator) {
		answers, start := o.watchAPI("pai-4", 3*time.Minute), time.Now()
		op := checkStream(o.t, o.run(15*time.Minute, "upgrade", "apply", "--to", newer, "--yes", "-o", "json"))
		if op.Jobs.Before != 1 || op.Jobs.After != 1 || len(op.Jobs.Interrupted) != 0 {
			o.t.Errorf("report: %+v", op.Jobs)
		}
		o.t.Logf("API unavailable: %.2f s for new connections, %.2f s for kept ones; the upgrade took %s",
			op.API.OutageSeconds, op.API.Kept.OutageSeconds, time.Since(start).Round(time.Second))
		if gap := answers(); gap > 10*time.Second { // an answer ends 10 s after its request at the latest
			o.t.Errorf("the worker had no answer of the API for %s", gap)
		} else {
			o.t.Logf("the worker had no answer of the API for %s at most", gap.Round(100*time.Millisecond))
		}
		o.wantBuild(true)
	})
	o.wantContainersOf("hold", before)

	o.buildBundle(newer) // the one before again
	o.part("the plug of pai-2 is pulled while its etcd is replaced", func(o *operator) { o.upgradeLosesMachine("pai-2", "machine/pai-2/etcd") })
	o.wantBuild(false)
	o.wantVoters("pai-1", "pai-2", "pai-3")
	o.wantContainersOf("hold", before)
	o.part("no request of the client failed", func(o *operator) { stopClient(o.t) })
}

// otherBuild is what the programs of the other build have in their versions.
const otherBuild = "0123456789abcdef0123456789abcdef01234567"

// wantBuild wants every control-plane machine to run the other build, or none of it.
func (o *operator) wantBuild(other bool) {
	o.t.Helper()
	for _, m := range []string{"pai-1", "pai-2", "pai-3"} {
		for _, unit := range []string{"pai-etcd-[ab]", "pai-apiserver-[ab]", "pai-controller-manager", "pai-scheduler", "pai-kubelet"} {
			out := o.on(m, `for u in $(systemctl list-units --plain --no-legend --state=active '`+unit+`.service' | cut -d' ' -f1); do
				grep -qa `+otherBuild+` /proc/$(systemctl show -P MainPID $u)/exe && echo other || echo first
			done`)
			want := "first"
			if other {
				want = "other"
			}
			if strings.TrimSpace(out) != want {
				o.t.Errorf("%s of %s runs the build %q, want %s", unit, m, out, want)
			}
		}
	}
}

// upgradeLosesMachine upgrades, pulls the plug of a machine when a step begins, starts the
// machine when the command has ended, and gives the same command until it succeeds.
func (o *operator) upgradeLosesMachine(machine, step string) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	args := []string{"upgrade", "apply", "--to", newer, "--yes", "-o", "json"}
	cmd := o.command(ctx, args...)
	said := &lockedBuffer{}
	cmd.Stderr = said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	answers := o.watchAPI("pai-4", 3*time.Minute)
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	pulled := false
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20) // a plan is one line
	for lines.Scan() {
		var e chaos.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && !pulled && e.Kind == "step-started" && strings.HasSuffix(e.Step.ID, step) {
			o.run(time.Minute, "machine", "kill", machine)
			pulled = true
		}
	}
	err = cmd.Wait()
	o.t.Logf("the command without %s ended with %v:\n%s", machine, err, said)
	if !pulled {
		o.t.Fatalf("the step %s never began", step)
	}
	o.run(5*time.Minute, "machine", "up", "--count", "4")
	outs := []string{}
	for range 6 {
		out, err := o.try(ctx, nil, args...)
		if err == nil {
			o.t.Logf("it succeeded after %d more commands", len(outs)+1)
			gap := answers()
			o.t.Logf("the worker had no answer of the API for %s at most", gap.Round(100*time.Millisecond))
			if gap > 10*time.Second {
				o.t.Errorf("no answer for %s", gap)
			}
			op := checkStream(o.t, out)
			if len(op.Jobs.Interrupted) != 0 {
				o.t.Errorf("report: %+v", op.Jobs)
			}
			return
		}
		outs = append(outs, err.Error())
		time.Sleep(5 * time.Second)
	}
	answers()
	slices.Reverse(outs)
	o.t.Errorf("the same command does not succeed: %s", strings.Join(outs, "\n\n"))
}
