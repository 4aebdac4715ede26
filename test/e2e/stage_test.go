//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"time"
)

// stages brings everything of the upgrade to both machines, which nothing that
// runs notices, and wants the upgrade to have nothing left to copy.
func (o *operator) stages() {
	t := o.t
	before := o.jobContainers()
	o.run(5*time.Minute, "upgrade", "stage", "--to", newer, "--yes")
	if op := o.lastOperation(); op.Outcome != "succeeded" || op.From != op.To || len(op.Steps) < 4 || len(op.Jobs.Interrupted) != 0 {
		t.Errorf("recorded: %+v", op)
	}
	o.wantContainers(before)
	for _, m := range []string{"pai-1", "pai-2"} {
		if there := o.on(m, "ls /opt/pai; readlink /opt/pai/role/kubelet"); !strings.Contains(there, newerKubernetes+"\n") || !strings.HasSuffix(strings.TrimSpace(there), olderKubernetes) {
			t.Errorf("on %s are, and runs: %s", m, there)
		}
	}
	var p struct{ Steps []struct{ Kind string } }
	o.json(&p, "upgrade", "plan", "--to", newer)
	for _, s := range p.Steps {
		if slices.Contains([]string{"machine-programs", "machine-images"}, s.Kind) {
			t.Errorf("the upgrade still copies: %+v", s)
		}
	}
	staged := o.lastOperation().ID
	o.run(2*time.Minute, "upgrade", "stage", "--to", newer, "--yes")
	if again := o.lastOperation(); again.ID != staged {
		t.Errorf("staging again did something: %+v", again)
	}
}
