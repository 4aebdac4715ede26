package operation

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/session"
)

// RestoreOptions are what the operator gives to a restore from a backup.
type RestoreOptions struct {
	Target     backup.Target
	Manifest   backup.Manifest // of the backup, trusted
	Identities []age.Identity  // can be nil once the data of the backup are in place
	// KeepTokens keeps the tokens of the REST server, also those that were revoked since.
	KeepTokens bool
}

// NewestToRestore is the backup that a restore of the cluster uses: the one that it
// started with, else the newest one.
func NewestToRestore(ctx context.Context, s *session.Session, t backup.Target, trusted []ed25519.PublicKey) (backup.Manifest, error) {
	host, err := s.ControlPlane()
	if err != nil {
		return backup.Manifest{}, err
	}
	r, err := cluster.ReadRecovered(ctx, host)
	if err != nil {
		return backup.Manifest{}, err
	}
	if r != nil && r.Stage != cluster.RecoveryDone {
		return backup.Find(ctx, t, r.Backup, trusted)
	}
	return backup.Newest(ctx, t, s.ClusterID(), trusted)
}

// Restore is the goal to restore the control plane from a backup, while the jobs on
// the other machines keep running.
func Restore(s *session.Session, o RestoreOptions) (Goal, error) {
	if o.Manifest.ClusterID != s.ClusterID() {
		return nil, pai.Errorf(pai.CodeRefused, "use the configuration of the cluster that was backed up",
			"backup %s is of cluster %s, and the configuration is of %s", o.Manifest.Name, o.Manifest.ClusterID, s.ClusterID())
	}
	return &restoreGoal{RestoreOptions: o}, nil
}

type restoreGoal struct {
	RestoreOptions
	repeatsSteps
}

func (g *restoreGoal) Verb() pai.Verb                        { return pai.VerbRestore }
func (g *restoreGoal) Plan(in plan.Input) (plan.Plan, error) { return plan.Recover(in) }

func (g *restoreGoal) Bundle(s *session.Session, _ plan.World) pai.Release {
	if m, err := s.ManifestOf(g.Manifest.Kubernetes); err == nil {
		return m.Metadata.Name
	}
	return "" // planning refuses an unknown version
}

// Gather adds what the control-plane machine has of the backup, or of another cluster.
func (g *restoreGoal) Gather(ctx context.Context, s *session.Session, in *plan.Input) error {
	in.Recovery = plan.Recovery{Backup: g.Manifest.Name, Kubernetes: g.Manifest.Kubernetes, Services: g.Manifest.Services}
	host, err := s.ControlPlane()
	if err != nil {
		return err
	}
	r, err := cluster.ReadRecovered(ctx, host)
	if err != nil {
		return err
	}
	if r != nil {
		in.Recovery.Has, in.Recovery.Done = r.Backup, r.Stage == cluster.RecoveryDone
	}
	in.Recovery.Data, err = cluster.HasControlPlane(ctx, host)
	if err == nil && len(g.Identities) == 0 && (r == nil || r.Stage == cluster.RecoveryStarted) {
		return pai.Errorf(pai.CodeUsage, "pass the file that age-keygen wrote with --identity", "the backup cannot be decrypted without a private key")
	}
	return err
}

// Consequences list what is lost, and what happens to each job.
func (g *restoreGoal) Consequences(ctx context.Context, s *session.Session, p plan.Plan, _ plan.World) (consequences, error) {
	if len(p.Steps) == 0 {
		return consequences{notes: []string{"the control plane is restored from this backup already"}}, nil
	}
	notes := []string{fmt.Sprintf("restores the control plane from backup %s, taken %s ago; every later write to the cluster is lost",
		g.Manifest.Name, time.Since(g.Manifest.Taken).Round(time.Second))}
	if slices.ContainsFunc(p.Steps, func(step plan.Step) bool { return step.Kind == plan.KindTokens }) {
		note := "ends all tokens of the REST server, because the backup does not have which were revoked since; users log in again, and make new application tokens"
		if g.KeepTokens {
			note = "keeps the tokens of the REST server as in the backup: those that were revoked since are valid again"
		}
		notes = append(notes, note)
	}
	for _, b := range g.Manifest.Bundles {
		if opened := s.OptionalBundle(b.Release); opened != nil && b.Digest != "" && opened.Digest() != b.Digest {
			notes = append(notes, fmt.Sprintf("the bundle of release %s on this host is another build than the cluster had: %s, not %s", b.Release, opened.Digest(), b.Digest))
		}
	}
	restores := slices.ContainsFunc(p.Steps, func(step plan.Step) bool { return step.Kind == plan.KindReconcile })
	if !restores || len(g.Identities) == 0 {
		return consequences{notes: append(notes, "its data are in place already")}, nil
	}
	jobs, err := g.jobs(ctx)
	if err != nil {
		return consequences{}, err
	}
	machines := cluster.Presences(ctx, s.Hosts, s.Config.MachineNames())
	if _, configured := machines[g.Manifest.Machine]; !configured {
		machines[g.Manifest.Machine] = cluster.Presence{}
	}
	return consequences{notes: append(notes, comparisonNotes(cluster.Compare(jobs, machines))...)}, nil
}

// jobs reads the jobs of the backup, and verifies the whole of it.
func (g *restoreGoal) jobs(ctx context.Context) ([]cluster.BackupJob, error) {
	var data cluster.JobData
	err := g.read(ctx, func(name string, _ int64, from io.Reader) error {
		if name != backup.JobsFile {
			return nil
		}
		return json.NewDecoder(from).Decode(&data)
	})
	if err != nil {
		return nil, err
	}
	return backupJobs(data)
}

// read verifies the backup, and then calls visit with each of its files.
func (g *restoreGoal) read(ctx context.Context, visit func(name string, size int64, from io.Reader) error) error {
	if len(g.Identities) == 0 {
		return pai.Errorf(pai.CodeUsage, "pass the file that age-keygen wrote with --identity", "the backup cannot be decrypted without a private key")
	}
	if err := backup.Verify(ctx, g.Target, g.Manifest, g.Identities); err != nil {
		return err
	}
	return backup.Read(ctx, g.Target, g.Manifest, g.Identities, visit)
}

// comparisonNotes say what a restore does to jobs.
func comparisonNotes(c cluster.Comparison) []string {
	var notes []string
	note := func(title string, names []string) {
		if len(names) > 0 {
			notes = append(notes, title+": "+strings.Join(names, ", "))
		}
	}
	var held, younger, unknown []string
	for _, j := range c.Held {
		held = append(held, fmt.Sprintf("%s (was %s; %s)", j.JobRef, j.State, j.Why))
	}
	for _, name := range sortedNames(c.Younger) {
		younger = append(younger, fmt.Sprintf("%s on %s", podsOf(c.Younger[name]), name))
	}
	for _, name := range sortedNames(c.Unknown) {
		unknown = append(unknown, fmt.Sprintf("%s (%v)", name, c.Unknown[name]))
	}
	note("jobs that keep running", refsOf(c.Running))
	note("jobs that will be marked as stopped, because they must not run again", held)
	note("jobs that waited when the backup was made, and wait again; one that ran since will run again", refsOf(c.Waiting))
	note("pods of jobs that the backup does not have, which run on; their machines stay out until they end, or until --accept-risk=evict-jobs:MACHINE", younger)
	note("machines that cannot be compared, and stay out until they can", unknown)
	return notes
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func refsOf(jobs []cluster.BackupJob) []string {
	var names []string
	for _, j := range jobs {
		names = append(names, j.String())
	}
	return names
}

func podsOf(containers []inspect.Container) string {
	var names []string
	for _, c := range containers {
		name := c.Pod
		if name == "" {
			name = "container " + c.ID
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func (g *restoreGoal) Equip(o *operation, d *cluster.Deps) {
	d.Recovery = &cluster.RecoveryTask{Backup: g.Manifest.Name, Taken: g.Manifest.Taken, Machine: g.Manifest.Machine, Read: g.read, Jobs: backupJobs,
		Reconciled: func(ctx context.Context, c cluster.Comparison) error { return o.reconciled(ctx, g.Manifest, c) }}
	if !g.KeepTokens {
		d.Recovery.EndTokens = o.endTokens
	}
}

// reconciled records what a restore does to jobs, before it does it. A run that was
// killed has recorded the jobs that it held, which look stopped now.
func (o *operation) reconciled(ctx context.Context, m backup.Manifest, c cluster.Comparison) error {
	entry := o.recorder.current()
	if entry == nil {
		return errors.New("the operation has no record")
	}
	for _, line := range comparisonNotes(c) {
		o.Progressf("%s", line)
	}
	return entry.Update(ctx, func(op *pai.Operation) { op.Restored = recordOf(m, c, op.Restored) })
}

// endTokens ends all tokens of the REST server, and records that.
func (o *operation) endTokens(ctx context.Context, k *kube.Client) (int, error) {
	n, err := rest.Tokens{Cluster: k}.EndAll(ctx)
	entry := o.recorder.current()
	if err != nil || entry == nil {
		return n, err
	}
	return n, entry.Update(ctx, func(op *pai.Operation) {
		if op.Restored != nil {
			r := *op.Restored
			r.TokensEnded = true
			op.Restored = &r
		}
	})
}

// recordOf is the record of a restore from a backup.
func recordOf(m backup.Manifest, c cluster.Comparison, before *pai.Restore) *pai.Restore {
	r := &pai.Restore{Snapshot: m.Name, Backup: true, Taken: m.Taken, Jobs: []pai.RestoredJob{}}
	if before != nil {
		r.TokensEnded = before.TokensEnded
		r.Jobs = slices.DeleteFunc(slices.Clone(before.Jobs), func(j pai.RestoredJob) bool { return j.Record != pai.RecordHeld })
	}
	about := func(j cluster.BackupJob, record pai.RecordOutcome) pai.RestoredJob {
		return pai.RestoredJob{Job: j.String(), User: j.User, VirtualCluster: j.VirtualCluster, Record: record, Restored: j.State, Containers: pai.ContainersNone}
	}
	for _, j := range c.Held {
		held := about(j.BackupJob, pai.RecordHeld)
		if !slices.ContainsFunc(r.Jobs, func(known pai.RestoredJob) bool { return known.Job == held.Job }) {
			r.Jobs = append(r.Jobs, held)
		}
	}
	for _, j := range c.Waiting {
		waiting := about(j, pai.RecordEarlier)
		waiting.RunsAgain = "it waited when the backup was made, and can have run since"
		r.Jobs = append(r.Jobs, waiting)
	}
	for _, name := range sortedNames(c.Younger) {
		young := pai.RestoredJob{Job: "unknown on " + name, Record: pai.RecordLost, Containers: pai.ContainersOrphan}
		for _, one := range c.Younger[name] {
			young.Ran = append(young.Ran, pai.RanContainer{Pod: one.Pod, Name: one.Name, Machine: name, ID: one.ID})
		}
		r.Jobs = append(r.Jobs, young)
	}
	if len(c.Unknown) > 0 {
		r.Unknown = "these machines could not be compared: " + strings.Join(sortedNames(c.Unknown), ", ")
	}
	return r
}

// Admit decides whether a machine can use the restored API server: its kubelet must
// not end a container, nor start one again.
func (g *restoreGoal) Admit(ctx context.Context, o *operation, s plan.Step) (bool, error) {
	switch s.Kind {
	case plan.KindAdmit:
		return true, g.admitMachine(ctx, o, s.Target)
	case plan.KindOpen:
		return true, g.admitAll(ctx, o)
	default:
		return false, nil
	}
}

func (g *restoreGoal) admitMachine(ctx context.Context, o *operation, name string) error {
	p := cluster.Presences(ctx, o.Hosts, []string{name})[name]
	if p.Err != nil {
		return pai.Errorf(pai.CodeWaiting, "make the machine reachable", "%s stays out of the restored cluster, because it cannot be compared with it: %w", name, p.Err)
	}
	client, err := o.Kube(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recordedTimeout)
	defer cancel()
	pods, err := client.Clientset().CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelJob, FieldSelector: "spec.nodeName=" + name})
	if err != nil {
		return fmt.Errorf("list the pods on %s: %w", name, err)
	}
	younger, missing := cluster.Admissible(p, name, pods.Items)
	if len(missing) > 0 {
		return pai.Errorf(pai.CodeRefused, "stop these jobs, so that they do not run again; run: paictl job stop",
			"%s stays out of the restored cluster, because it would start pods again that no longer exist there: %s", name, podNames(missing))
	}
	if len(younger) == 0 {
		return nil
	}
	risk := guard.AcceptEvict(name)
	if !slices.Contains(o.options.Accept, risk) {
		return pai.Errorf(pai.CodeWaiting, "", "%s stays out of the restored cluster until what the backup does not have ends there: %s; to end it now, use --accept-risk=%s",
			name, podsOf(younger), risk)
	}
	entry := o.recorder.current()
	return entry.Update(ctx, func(op *pai.Operation) {
		op.Evicted = append(op.Evicted, pai.Evicted{Machine: name, Jobs: []pai.JobRef{}, At: time.Now().UTC()})
	})
}

func podNames(pods []corev1.Pod) string {
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// admitAll refuses to let in machines that nothing was compared with.
func (g *restoreGoal) admitAll(ctx context.Context, o *operation) error {
	client, err := o.Kube(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recordedTimeout)
	defer cancel()
	nodes, err := client.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	var strange []string
	for _, n := range nodes.Items {
		if _, configured := o.Config.FindMachine(n.Name); !configured && n.Name != g.Manifest.Machine {
			strange = append(strange, n.Name)
		}
	}
	if len(strange) > 0 {
		return pai.Errorf(pai.CodeRefused, "add these machines to layout.yaml; or, if they no longer exist, delete their nodes; run: kubectl delete node "+strings.Join(strange, " "),
			"nodes that are not in the configuration stay out of the restored cluster, because they cannot be compared with it: %s", strings.Join(strange, ", "))
	}
	return nil
}
