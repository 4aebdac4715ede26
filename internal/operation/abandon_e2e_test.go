//go:build e2e

package operation

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/inspecttest"
	"pai.dev/pai/test/kubetest"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// Against a real API server: an upgrade with a cordoned machine, one without, and
// no upgrade.
func TestAbandon(t *testing.T) {
	api := kubetest.Start(t)
	core, store, ctx := api.Client.Clientset(), runtest.Dir(t.TempDir()), t.Context()
	if err := store.WriteFile(ctx, "/var/lib/pai/cluster.json", []byte(`{"clusterId":"test","kubernetes":"v0.9-pai","services":"v0.9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &session.Session{Config: &config.Config{}, Dirs: session.Dirs{State: t.TempDir()}, Hosts: map[string]machine.Host{}, Progressf: t.Logf}
	s.UseKube(api.Client)
	for name, role := range map[string]string{"one": config.RoleControlPlane, "two": config.RoleWorker} {
		// The witness, which has its own connections, connects to no machine.
		m := config.Machine{Hostname: name, HostIP: "127.0.0.1", SSHPort: 1, Username: "root", Role: role}
		s.Config.Layout.MachineList = append(s.Config.Layout.MachineList, m)
		host := &sessiontest.Host{Hostname: name, Files: store}
		if role == config.RoleControlPlane {
			host.Answer = controlPlaneAnswer
		}
		s.Hosts[name] = host
		// The API server tracks who sets what only of objects that say something.
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
		if _, err := core.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// A cordon of the operator, which PAI does not remove.
	if _, err := core.CoreV1().Nodes().Patch(ctx, "two", types.StrategicMergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{FieldManager: "kubectl-cordon"}); err != nil {
		t.Fatal(err)
	}

	waits := endedUpgrade(t, store, pai.Operation{Verb: pai.VerbUpgrade, Waiting: []pai.Waiting{{Machine: "one"}},
		Cordoned: []pai.Cordon{{Machine: "one"}}, Steps: []pai.StepRecord{{ID: "a", Outcome: pai.OutcomeSucceeded}, {ID: "b", Outcome: pai.OutcomeWaiting}}}, pai.OutcomeWaiting)
	if done, err := cluster.Cordon(ctx, core, "one", waits); err != nil || !done {
		t.Fatalf("cordoned %v, error %v", done, err)
	}
	abandons(t, s, waits, 1)
	wantCordoned(t, core, map[string]bool{"one": false, "two": true})

	abandons(t, s, endedUpgrade(t, store, pai.Operation{Verb: pai.VerbUpgrade}, pai.OutcomeFailed), 0)
	wantCordoned(t, core, map[string]bool{"one": false, "two": true})

	if op := abandonNow(t, s); op.ID != "" {
		t.Errorf("no upgrade is unfinished: got record %+v", op)
	}
	endedUpgrade(t, store, pai.Operation{Verb: pai.VerbUpgrade}, pai.OutcomeFailed)
	api.StopAPIServer()
	if _, err := Run(ctx, s, Abandon(), RunOptions{}); err == nil || pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("API outage: got %v, want a refusal", err)
	}
	if left, err := Unfinished(ctx, s); err != nil || left == nil {
		t.Errorf("after the refusal: got unfinished %+v, error %v", left, err)
	}
}

// abandons abandons an upgrade, in a number of steps, and wants that in the status.
func abandons(t *testing.T, s *session.Session, upgrade string, steps int) {
	t.Helper()
	op := abandonNow(t, s)
	if op.Outcome != pai.OutcomeSucceeded || len(op.Steps) != steps {
		t.Errorf("got record %+v, want %d steps", op, steps)
	}
	if left, err := Unfinished(t.Context(), s); err != nil || left != nil {
		t.Errorf("got unfinished %+v, error %v", left, err)
	}
	st, err := UpgradeStatus(t.Context(), s)
	if err != nil || st.State != StateAbandoned || st.Operation == nil || st.Operation.ID != upgrade || st.Abandoned == nil || st.Abandoned.Operation != op.ID ||
		st.Abandoned.At.IsZero() || len(st.Waiting) != 0 || len(st.Cordoned) != 1 || st.Next != "" {
		t.Errorf("upgrade %s, abandoned by %s: got status %+v, error %v", upgrade, op.ID, st, err)
	}
}

func abandonNow(t *testing.T, s *session.Session) pai.Operation {
	t.Helper()
	op, err := Run(t.Context(), s, Abandon(), RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func endedUpgrade(t *testing.T, store run.Store, op pai.Operation, outcome pai.Outcome) string {
	t.Helper()
	e, err := run.NewJournal(store).Begin(t.Context(), op)
	if err == nil {
		err = e.End(t.Context(), outcome, nil, pai.Report{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return e.Operation().ID
}

func wantCordoned(t *testing.T, core kubernetes.Interface, want map[string]bool) {
	t.Helper()
	for name, cordoned := range want {
		node, err := core.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || node.Spec.Unschedulable != cordoned {
			t.Errorf("%s: got cordoned %v, error %v; want %v", name, node.Spec.Unschedulable, err, cordoned)
		}
	}
}

// controlPlaneAnswer says that a machine runs the API server of v0.9.
func controlPlaneAnswer(_ context.Context, c machine.Command) (machine.Output, error) {
	_, err := inspecttest.AnswerWith(c, func(inspect.Request) inspect.Report {
		return inspect.Report{Prepared: &inspect.Preparation{}, Roles: map[layout.Role]inspect.Role{
			layout.RoleAPIServerA: {Link: "v0.9-pai", Active: true, PID: 100, Program: layout.Program("v0.9-pai", "kube-apiserver")},
		}}
	})
	return machine.Output{}, err
}
