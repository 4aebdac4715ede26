package cluster

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
	Take func(ctx context.Context, read func(facts func(BackupFacts) error, file func(name string, size int64, from io.Reader) error) error) error
}

// BackupFacts is what the snapshot of a backup held when it was served.
type BackupFacts struct {
	Revision, Keys, Secrets int64
	// Secret is one Secret as etcd stores it; its key is empty if there is none.
	SecretKey   string
	SecretValue []byte
	Jobs        JobData
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
			return c.Backup.Take(ctx, func(facts func(BackupFacts) error, file func(string, int64, io.Reader) error) error {
				return readBackup(ctx, h, backupScript(v, from), facts, file)
			})
		}
	}
	return pai.Errorf(pai.CodeFailed, "start the control plane; for its state, run: paictl cluster status", "no etcd on %q is healthy, so no backup can be made", h.Name())
}

// authorityFiles are the keys in layout.PKIDir that a cluster has for its whole life.
// Every other certificate is made from them.
var authorityFiles = []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"}

// backedUpState are the records of PAI in layout.StateDir, as far as they exist.
var backedUpState = []string{"operations", "revisions", "applied", "witness", path.Base(layout.ClusterRecordFile), path.Base(layout.MaintenanceFile)}

// backupScript prints what the facts of a backup are read from, one line each, and
// then a tar of its files. The snapshot is served by a scratch etcd before, which
// answers these questions. Everything is in the scratch directory of this script,
// which its owner alone can read, and is removed with it.
func backupScript(v pai.KubernetesVersion, from layout.Slot) string {
	var b strings.Builder
	fmt.Fprintf(&b, `%[1]s
said=$(%[2]s --cacert %[3]s/etcd/ca.crt --cert %[3]s/etcd/healthcheck-client.crt --key %[3]s/etcd/healthcheck-client.key \
    --endpoints https://127.0.0.1:%[4]d snapshot save snapshot.db 2>&1) || fail
status=$(%[5]s snapshot status snapshot.db -w json)
said=$(%[5]s snapshot restore snapshot.db --data-dir data 2>&1) || fail
%[6]s
printf '%%s\n' "$status"
$ask get /registry/secrets/ --prefix --limit=1 -w json
`, makeScratch, layout.Program(v, "etcdctl"), layout.PKIDir, from.EtcdClientPort, layout.Program(v, "etcdutl"), serveScratch(v))
	for _, prefix := range jobPrefixes() {
		fmt.Fprintf(&b, "$ask get %s --prefix -w json\n", prefix)
	}
	fmt.Fprintf(&b, `mkdir -p out/etcd out/pki/etcd out/state
mv snapshot.db out/etcd/snapshot.db
cp %s out/encryption.yaml
for f in %s; do cp "%s/$f" "out/pki/$f"; done
for f in %s; do [ ! -e "%[5]s/$f" ] || cp -R "%[5]s/$f" out/state/; done
tar -C out -cf - etcd encryption.yaml pki state
`, layout.EncryptionFile, strings.Join(authorityFiles, " "), layout.PKIDir, strings.Join(backedUpState, " "), layout.StateDir)
	return b.String()
}

// maxBackupLine bounds a line of the facts: the values of one kind of objects.
const maxBackupLine = 2 << 30

// readBackup runs the script of a backup and passes on what it prints.
func readBackup(ctx context.Context, h machine.Host, script string, facts func(BackupFacts) error, file func(string, int64, io.Reader) error) error {
	printed, to := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := h.Run(ctx, machine.Command{Script: script, Stdout: to, Bulk: true})
		to.CloseWithError(err)
		ended <- err
	}()
	from := bufio.NewReaderSize(printed, 1<<20)
	err := parseBackup(from, facts, file)
	if err == nil {
		_, err = io.Copy(io.Discard, from) // the end of the tar
	}
	printed.CloseWithError(errors.New("the rest is not read")) // ends the script after an error
	if failed := <-ended; failed != nil && (err == nil || errors.Is(err, failed)) {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("read the backup of %q: %w", h.Name(), err)
	}
	return nil
}

func parseBackup(from *bufio.Reader, facts func(BackupFacts) error, file func(string, int64, io.Reader) error) error {
	found, err := parseFacts(from)
	if err != nil {
		return err
	}
	if err := facts(found); err != nil {
		return err
	}
	entries := tar.NewReader(from)
	for {
		header, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case header.Typeflag == tar.TypeDir:
			continue
		case header.Typeflag != tar.TypeReg:
			return fmt.Errorf("%q is not a regular file", header.Name)
		case strings.HasPrefix(path.Base(header.Name), layout.TemporaryPrefix):
			continue // being written
		}
		if err := file(header.Name, header.Size, entries); err != nil {
			return err
		}
	}
}

func parseFacts(from *bufio.Reader) (f BackupFacts, err error) {
	line := func(what string, into any) error {
		data, err := readLine(from, maxBackupLine)
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			return fmt.Errorf("read %s of the snapshot: %w", what, err)
		}
		return nil
	}
	var status struct {
		Revision int64 `json:"revision"`
		Keys     int64 `json:"totalKey"`
	}
	var secret struct {
		printed
		Count int64 `json:"count"` // of all Secrets
	}
	if err := errors.Join(line("the status", &status), line("a Secret", &secret)); err != nil {
		return f, err
	}
	f.Revision, f.Keys, f.Secrets = status.Revision, status.Keys, secret.Count
	if len(secret.KVs) > 0 {
		f.SecretKey, f.SecretValue = string(secret.KVs[0].Key), secret.KVs[0].Value
	}
	if f.Keys == 0 {
		return f, errors.New("the snapshot holds no keys")
	}
	f.Jobs = JobData{}
	for range jobPrefixes() {
		text, err := readLine(from, maxBackupLine)
		if err == nil {
			err = parseValues(text, f.Jobs)
		}
		if err != nil {
			return f, fmt.Errorf("read the jobs of the snapshot: %w", err)
		}
	}
	return f, nil
}

// readLine reads a line of at most limit bytes.
func readLine(from *bufio.Reader, limit int) ([]byte, error) {
	var line bytes.Buffer
	for {
		part, err := from.ReadSlice('\n')
		line.Write(part)
		switch {
		case line.Len() > limit:
			return nil, fmt.Errorf("a line has more than %d bytes", limit)
		case err == nil:
			return line.Bytes(), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
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
