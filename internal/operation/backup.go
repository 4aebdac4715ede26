package operation

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// BackupOptions are what the operator gives to a backup.
type BackupOptions struct {
	Target     backup.Target
	Recipients []string
	Key        ed25519.PrivateKey
	// Keep is how many backups stay; 0 keeps all.
	Keep int
}

// Backup is the goal to back up the control plane.
func Backup(s *session.Session, o BackupOptions) (Goal, error) {
	if _, err := backup.Recipients(o.Recipients); err != nil { // before anything is read
		return nil, err
	}
	return &backupGoal{BackupOptions: o, name: backup.NameOf(s.ClusterID(), time.Now())}, nil
}

type backupGoal struct {
	BackupOptions
	name string
}

func (g *backupGoal) Verb() pai.Verb { return pai.VerbBackup }

func (g *backupGoal) Plan(in plan.Input) (plan.Plan, error) {
	p, err := plan.Backup(in.World, g.name)
	if err == nil {
		p.Notes = append(p.Notes, fmt.Sprintf("the backup goes to %s; it has the etcd data, the keys, and the records of the control plane, not the data of jobs and of Prometheus", g.Target))
	}
	return p, err
}

func (g *backupGoal) Equip(o *operation, d *cluster.Deps) {
	key := g.Key.Public().(ed25519.PublicKey)
	d.Backup = &cluster.BackupTask{
		Taken: func(ctx context.Context) (bool, error) {
			_, err := backup.Find(ctx, g.Target, g.name, []ed25519.PublicKey{key})
			if pai.CodeOf(err) == pai.CodeNotFound {
				return false, nil
			}
			return err == nil, err
		},
		Take: func(ctx context.Context, read source.Reader) error {
			_, err := backup.Write(ctx, g.Target, o.manifest(g.name), backup.Options{Recipients: g.Recipients, Key: g.Key}, func(w *backup.Writer, m *backup.Manifest) error {
				return source.Fill(w, m, time.Now, read)
			})
			if err != nil || g.Keep == 0 {
				return err
			}
			deleted, err := backup.Prune(ctx, g.Target, o.ClusterID(), g.Keep, key, time.Now())
			for _, name := range deleted {
				o.Progressf("deleted the older backup %s", name)
			}
			return err
		},
	}
}

// manifest is what is known of a backup before it is taken.
func (o *operation) manifest(name string) backup.Manifest {
	w := o.preview.world
	m := backup.Manifest{Name: name, ClusterID: o.ClusterID(), Machine: o.Seed().Hostname, Paictl: o.Version,
		Kubernetes: w.Current.Kubernetes, Services: w.ServicesRelease(), Bundles: []backup.Bundle{}}
	for _, name := range plan.ReleasesOf(o.Releases, m.Kubernetes, m.Services) {
		b := backup.Bundle{Release: name}
		if opened := o.OptionalBundle(name); opened != nil {
			b.Digest = opened.Digest()
		}
		m.Bundles = append(m.Bundles, b)
	}
	return m
}

// backupJobs are the jobs that had not ended.
func backupJobs(data cluster.JobData) ([]cluster.BackupJob, error) {
	records, err := data.Records()
	if err != nil {
		return nil, err
	}
	jobs := []cluster.BackupJob{}
	for _, id := range sortedNames(records) {
		r := records[id]
		if r.Set == nil {
			continue
		}
		s, err := job.ReadStatus(r.Set, r.Pods)
		if err != nil {
			return nil, err
		}
		if s.State.Ended() {
			continue
		}
		names, err := r.ReplicatedJobs()
		if err != nil {
			return nil, fmt.Errorf("read the task roles of job %s: %w", s.JobRef, err)
		}
		jobs = append(jobs, cluster.BackupJob{JobRef: s.JobRef, Namespace: s.Namespace, Object: s.Object, State: string(s.State), Roles: names, Pods: r.LivePods()})
	}
	return jobs, nil
}
