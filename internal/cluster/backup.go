package cluster

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// BackupTask is what a backup step does with what it reads.
type BackupTask struct {
	// Taken reports whether the backup exists.
	Taken func(ctx context.Context) (bool, error)
	// Take stores the backup. read can be called once.
	Take func(ctx context.Context, read source.Reader) error
}

// BackupJob is a job in a backup that had not ended.
type BackupJob struct {
	pai.JobRef
	Namespace string      `json:"namespace"`
	Object    string      `json:"object"`
	State     string      `json:"state"`
	Roles     []string    `json:"roles"` // names of its ReplicatedJobs
	Pods      []BackupPod `json:"pods"`
}

// BackupPod is a pod of a job in a backup that had not ended.
type BackupPod struct {
	Name    string `json:"name"`
	UID     string `json:"uid"`
	Machine string `json:"machine,omitempty"` // empty if it was not scheduled
}

func (c *cluster) backupDone(ctx context.Context, _ machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	return c.Backup.Taken(ctx)
}

func (c *cluster) backup(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	for _, from := range layout.Slots() {
		if v := states[from].Running; v != "" && c.etcdHealthy(ctx, h, from) == nil {
			return c.Backup.Take(ctx, func(facts func(source.Facts) error, file func(string, int64, io.Reader) error) error {
				err := source.Read(ctx, func(ctx context.Context, stdout io.Writer) error {
					_, err := h.Run(ctx, machine.Command{Script: source.Script(v, from), Stdout: stdout, Bulk: true})
					return err
				}, facts, file)
				if err != nil {
					return fmt.Errorf("read the backup of %q: %w", h.Name(), err)
				}
				return nil
			})
		}
	}
	return pai.Errorf(pai.CodeFailed, "start the control plane; for its state, run: paictl cluster status", "no etcd on %q is healthy, so no backup can be made", h.Name())
}

// LivePods are the pods of a job that had not ended.
func (r *JobRecord) LivePods() []BackupPod {
	pods := []BackupPod{}
	for _, p := range r.Pods {
		if live(&p) {
			pods = append(pods, BackupPod{Name: p.Name, UID: string(p.UID), Machine: p.Spec.NodeName})
		}
	}
	return pods
}

// ReplicatedJobs are the names of the Jobs of a JobSet, which the names of its pods
// have.
func (r *JobRecord) ReplicatedJobs() ([]string, error) {
	list, _, err := unstructured.NestedSlice(r.Set.Object, "spec", "replicatedJobs")
	names := []string{}
	for _, one := range list {
		if fields, ok := one.(map[string]any); ok {
			names = append(names, fmt.Sprint(fields["name"]))
		}
	}
	return names, err
}

// live reports whether a pod can have running containers.
func live(p *corev1.Pod) bool {
	return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}
