//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// finding is one entry of `paictl check -o json`.
type finding struct{ ID, Target, Outcome, Found, Fix string }

// findings runs the checks for going to the newer release and returns those that are not
// ok, as "outcome id target", and the exit code.
func (o *operator) findings() ([]string, int) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	start := time.Now()
	out, err := o.try(ctx, nil, "check", "--to", newer, "-o", "json")
	o.t.Logf("paictl check: %.1f s", time.Since(start).Seconds())
	var all []finding
	if json.Unmarshal([]byte(out), &all) != nil || len(all) < 30 {
		o.t.Fatalf("%v\n%s", err, out)
	}
	var odd []string
	for _, f := range all {
		if f.Outcome != "ok" {
			odd = append(odd, strings.TrimSpace(f.Outcome+" "+f.ID+" "+f.Target))
			o.t.Logf("  %s %s %s: %s", f.Outcome, f.ID, f.Target, f.Found)
		}
		if (f.Outcome == "failed" || f.Outcome == "unknown") && f.Fix == "" {
			o.t.Errorf("%+v does not say what to do", f)
		}
	}
	return odd, exitCode(err)
}

type fault struct{ make, undo, finding string }

// faults are things that go wrong with real clusters: how each is made, how it
// is undone, and what the checks are to say of it.
var faults = []fault{
	{"$kubectl cordon pai-1", "$kubectl uncordon pai-1", "warning node-cordoned pai-1"},
	{"$kubectl run bare --image pai.local/pause:v1 --image-pull-policy Never", "$kubectl delete pod bare --wait=false", "warning pod-owners default/bare"},
	{`$kubectl create -f - <<'END'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: unanswered}
webhooks:
- name: unanswered.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  rules: [{apiGroups: [example.com], apiVersions: ["*"], operations: ["*"], resources: ["*"]}]
  clientConfig: {service: {namespace: default, name: absent}}
END`, "$kubectl delete validatingwebhookconfiguration unanswered", "failed webhooks ValidatingWebhookConfiguration/unanswered"},
	{"systemctl stop pai-scheduler", "systemctl start pai-scheduler", "failed components pai-1/scheduler"},
	{"mkdir -p /var/lib/pai/snapshots; mount -t tmpfs -o size=1m none /var/lib/pai/snapshots", "umount /var/lib/pai/snapshots", "failed machine-disk pai-1"},
	// A resolver that never answers: what is sent to it is dropped.
	{`nft add table inet unanswered
nft 'add chain inet unanswered in { type filter hook input priority 0; }'
nft add rule inet unanswered in ip daddr 127.0.0.77 drop
cp -a /etc/resolv.conf /root/resolv.conf 2>/dev/null || :
rm -f /etc/resolv.conf; echo nameserver 127.0.0.77 > /etc/resolv.conf`,
		"nft delete table inet unanswered; rm -f /etc/resolv.conf; cp -a /root/resolv.conf /etc/resolv.conf 2>/dev/null || :",
		"failed machine-names pai-1"},
}

// checksFindFaults makes real faults on a cluster with a job on it; each has
// to be found by name, and an upgrade refused with all of them.
func (o *operator) checksFindFaults() {
	t := o.t
	before, code := o.findings()
	present := func(f fault) bool { return slices.Contains(before, f.finding) }
	if code != 0 || slices.ContainsFunc(faults, present) {
		t.Fatalf("exit code %d; a cluster that is well fails %q", code, before)
	}
	containers := o.jobContainers()
	script := func(of func(i int) string) string {
		lines := []string{`export KUBECONFIG=/etc/kubernetes/admin.conf; kubectl=/opt/pai/role/kubelet/bin/kubectl`}
		for i := range faults {
			lines = append(lines, of(i))
		}
		return strings.Join(lines, "\n")
	}
	undone := false
	undo := func() {
		if !undone {
			undone = true
			o.on("pai-1", script(func(i int) string { return faults[i].undo }))
		}
	}
	defer undo()
	o.on("pai-1", script(func(i int) string { return faults[i].make }))

	found, code := o.findings()
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := o.try(ctx, nil, "upgrade", "apply", "--to", newer, "--yes")
	if exitCode(err) != 3 {
		t.Errorf("upgrade apply ends with code %d, want 3: %v", exitCode(err), err)
	}
	for _, f := range faults {
		if !slices.Contains(found, f.finding) {
			t.Errorf("not found: %s", f.finding)
		}
		_, about, _ := strings.Cut(f.finding, " ")
		if !strings.Contains(fmt.Sprint(err), about) {
			t.Errorf("the refusal does not name %s: %v", about, err)
		}
	}
	o.wantContainers(containers)
	undo()
	o.eventually(30*time.Second, "the checks find none of the faults any more", func() (bool, string) {
		after, code := o.findings()
		left := slices.ContainsFunc(faults, func(f fault) bool { return slices.Contains(after, f.finding) })
		return code == 0 && !left, fmt.Sprint(after)
	})
}
