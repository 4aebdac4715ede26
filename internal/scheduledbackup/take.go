package scheduledbackup

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

// take makes a backup and deletes older ones.
func (m Machine) take(ctx context.Context, s backup.Scheduled) (*backup.Success, error) {
	began := m.Now()
	runs, err := m.cluster(s)
	if err != nil {
		return nil, err
	}
	o, err := m.options(s)
	if err != nil {
		return nil, err
	}
	slot, version, err := m.etcd(ctx, runs)
	if err != nil {
		return nil, err
	}
	if err := m.checkSpace(s.To, slot); err != nil {
		return nil, err
	}
	target, err := m.target(s)
	if err != nil {
		return nil, err
	}
	m.deleted(backup.PruneIncomplete(ctx, target, s.ClusterID, m.Now()))
	manifest, err := m.manifest(s, runs, version)
	if err != nil {
		return nil, err
	}
	manifest, err = backup.Write(ctx, target, manifest, o, func(w *backup.Writer, made *backup.Manifest) error {
		return source.Fill(w, made, m.Now, func(facts func(source.Facts) error, file func(string, int64, io.Reader) error) error {
			return source.Read(ctx, func(ctx context.Context, stdout io.Writer) error {
				return m.Script(ctx, source.Script(version, slot), stdout)
			}, facts, file)
		})
	})
	if err != nil {
		return nil, err
	}
	key := o.Key.Public().(ed25519.PublicKey)
	m.deleted(backup.Prune(ctx, target, s.ClusterID, s.Keep, key, m.Now()))
	return &backup.Success{At: m.now(), Name: manifest.Name, To: s.To, Size: manifest.Content.Size, Seconds: m.Now().Sub(began).Round(time.Millisecond).Seconds()}, nil
}

// deleted logs which backups were deleted. What could not be deleted fails no backup: the
// next one deletes again.
func (m Machine) deleted(names []string, err error) {
	for _, name := range names {
		m.Log.Info("deleted an older backup", "backup", name)
	}
	if err != nil {
		m.Log.Warn("older backups could not be deleted", "error", err.Error())
	}
}

// options are the recipients, the key of the machine, and its permissions.
func (m Machine) options(s backup.Scheduled) (backup.Options, error) {
	o := backup.Options{Recipients: s.Recipients}
	var err error
	if o.Key, err = release.LoadKey(m.at(layout.BackupKeyFile)); err != nil {
		return o, fmt.Errorf("read the key that signs backups: %w", err)
	}
	data, err := m.read(layout.BackupPermissionsFile)
	if err == nil {
		o.Permissions, err = backup.ReadPermissions(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o, err
	}
	if len(o.Permissions) == 0 {
		return o, errors.New("no operator permitted the key of this machine; run: paictl cluster k8s-bootup")
	}
	return o, nil
}

// cluster is what the machine runs. It returns errBusy in the middle of an upgrade, a
// rollback, or a restore: a restore of that backup would start one of two versions only,
// or jobs that were not compared with the machines.
func (m Machine) cluster(s backup.Scheduled) (pai.Pair, error) {
	var r recorded
	found, err := m.readJSON(layout.ClusterRecordFile, &r)
	switch {
	case err != nil:
		return pai.Pair{}, err
	case !found || r.Kubernetes == "":
		return pai.Pair{}, fmt.Errorf("%w: it is not booted", errBusy)
	case r.ClusterID != s.ClusterID:
		return pai.Pair{}, fmt.Errorf("the machine belongs to cluster %q, and the settings are of cluster %q", r.ClusterID, s.ClusterID)
	}
	var restored struct {
		Backup string `json:"backup"`
		Stage  string `json:"stage"`
	}
	if found, err := m.readJSON(layout.RecoveryFile, &restored); err != nil {
		return pai.Pair{}, err
	} else if found && restored.Stage != restoreDone {
		return pai.Pair{}, fmt.Errorf("%w: the restore from backup %s is not complete", errBusy, restored.Backup)
	}
	pair := pai.Pair{Kubernetes: pai.KubernetesVersion(r.Kubernetes), Services: pai.ServicesVersion(r.Services)}
	for _, role := range plan.VersionedRoles() {
		link, err := m.link(role)
		if err != nil {
			return pai.Pair{}, err
		}
		if v := pai.KubernetesVersion(link); link != "" && pair.Kubernetes.Less(v.Label()) {
			return pai.Pair{}, fmt.Errorf("%w: Kubernetes is between %s and %s", errBusy, pair.Kubernetes, v.Label())
		}
	}
	return pair, nil
}

// restoreDone is the stage of a complete restore in layout.RecoveryFile.
const restoreDone = "done"

// etcd is the slot whose etcd serves, and the version of its programs.
func (m Machine) etcd(ctx context.Context, runs pai.Pair) (layout.Slot, pai.KubernetesVersion, error) {
	var serving []layout.Slot
	links := map[string]string{}
	for _, slot := range layout.Slots() {
		link, err := m.link(slot.Etcd)
		if err != nil {
			return slot, "", err
		}
		if link != "" {
			serving, links[slot.Name] = append(serving, slot), link
		}
	}
	switch len(serving) {
	case 0:
		return layout.Slot{}, "", fmt.Errorf("no etcd of Kubernetes %s is on this machine", runs.Kubernetes)
	case 1:
	default:
		return layout.Slot{}, "", fmt.Errorf("%w: etcd is handed over from one slot to the other", errBusy)
	}
	slot := serving[0]
	v := pai.KubernetesVersion(links[slot.Name])
	_, err := m.Run(ctx, m.at(layout.Program(v, "etcdctl")), "--cacert", m.at(layout.PKIDir+"/etcd/ca.crt"), "--cert", m.at(layout.PKIDir+"/etcd/healthcheck-client.crt"),
		"--key", m.at(layout.PKIDir+"/etcd/healthcheck-client.key"), "--endpoints", fmt.Sprintf("https://127.0.0.1:%d", slot.EtcdClientPort), "endpoint", "health")
	if err != nil {
		return slot, v, fmt.Errorf("etcd is not healthy: %w", err)
	}
	return slot, v, nil
}

// manifest is what is known of a backup before it is taken.
func (m Machine) manifest(s backup.Scheduled, runs pai.Pair, version pai.KubernetesVersion) (backup.Manifest, error) {
	known, err := release.Load(releases.FS)
	if err != nil {
		return backup.Manifest{}, err
	}
	var installed struct {
		Release pai.Release `json:"release"`
		Bundle  string      `json:"bundle"` // digest
	}
	if _, err := m.readJSON(layout.VersionDir(version)+"/"+layout.ReleaseFile, &installed); err != nil {
		return backup.Manifest{}, err
	}
	out := backup.Manifest{Name: backup.NameOf(s.ClusterID, m.Now()), ClusterID: s.ClusterID, Machine: s.Machine, Paictl: m.Version,
		Kubernetes: runs.Kubernetes, Services: runs.Services, Bundles: []backup.Bundle{}}
	for _, name := range plan.ReleasesOf(known, runs.Kubernetes, runs.Services) {
		b := backup.Bundle{Release: name}
		if name == installed.Release {
			b.Digest = installed.Bundle
		}
		out.Bundles = append(out.Bundles, b)
	}
	return out, nil
}
