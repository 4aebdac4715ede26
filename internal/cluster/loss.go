package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Loss is what a restore of an etcd snapshot would undo: every difference between
// the snapshot and the current content of etcd.
type Loss struct {
	Snapshot string    // its name; empty if an earlier run has restored it
	Taken    time.Time // when
	Kinds    []KindLoss
	// Created are the keys of objects that were created since.
	Created map[string]bool
	// Gone are the keys of objects that were deleted since and would be restored.
	Gone map[string]bool
}

// KindLoss counts the differences in the objects of one kind.
type KindLoss struct {
	Kind                      string // "pods", "jobsets.jobset.x-k8s.io"
	Created, Changed, Deleted int
}

func (k KindLoss) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{k.Created, "created"}, {k.Changed, "changed"}, {k.Deleted, "deleted"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return k.Kind + " " + strings.Join(parts, ", ")
}

// LossOf compares the snapshot of a restore step with the current content of etcd.
func LossOf(ctx context.Context, h machine.Host, s plan.Step) (Loss, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lossTimeout, fmt.Errorf("comparing the snapshot took longer than %s", lossTimeout))
	defer cancel()
	snapshot, err := snapshotToRestore(ctx, h, s)
	if err != nil || snapshot == "" {
		return Loss{}, err
	}
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return Loss{}, err
	}
	for _, from := range layout.Slots() {
		if v := states[from].Running; v != "" {
			return lossOf(ctx, h, from, v, snapshot)
		}
	}
	return Loss{}, fmt.Errorf("no etcd runs on %q to compare the snapshot with", h.Name())
}

// scratchKeys is a script that prints the time and the keys of a snapshot.
func scratchKeys(v pai.KubernetesVersion, snapshot string) string {
	return fmt.Sprintf(`%s
said=$(%s snapshot restore %[3]s --data-dir data 2>&1) || fail
%[4]s
stat -c %%Y %[3]s
$ask get /registry/ --prefix --keys-only -w json`, makeScratch, layout.Program(v, "etcdutl"), snapshot, serveScratch(v))
}

func lossOf(ctx context.Context, h machine.Host, from layout.Slot, v pai.KubernetesVersion, snapshot string) (Loss, error) {
	out, err := sh(ctx, h, "%s", scratchKeys(v, snapshot))
	if err != nil {
		return Loss{}, fmt.Errorf("read the snapshot %s: %w", snapshot, err)
	}
	stamp, keys, _ := strings.Cut(out, "\n")
	seconds, err := strconv.ParseInt(strings.TrimSpace(stamp), 10, 64)
	if err != nil {
		return Loss{}, fmt.Errorf("read the time of the snapshot %s: %w", snapshot, err)
	}
	then, err := parseKeys([]byte(keys))
	if err != nil {
		return Loss{}, fmt.Errorf("read the keys of the snapshot %s: %w", snapshot, err)
	}
	client, err := etcd.Open(ctx, h)
	if err != nil {
		return Loss{}, err
	}
	defer client.Close()
	now, err := client.Keys(ctx, from, "/registry/")
	if err != nil {
		return Loss{}, err
	}
	loss := compareKeys(then, now)
	loss.Snapshot, loss.Taken = path.Base(snapshot), time.Unix(seconds, 0)
	return loss, nil
}

// lossTimeout limits the comparison. etcd holds at most gigabytes.
const lossTimeout = 3 * time.Minute

// parseKeys reads what etcdctl prints.
func parseKeys(data []byte) (map[string]etcd.Revisions, error) {
	var answer struct {
		KVs []struct {
			Key      []byte `json:"key"`
			Created  int64  `json:"create_revision"`
			Modified int64  `json:"mod_revision"`
		} `json:"kvs"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, err
	}
	keys := make(map[string]etcd.Revisions, len(answer.KVs))
	for _, kv := range answer.KVs {
		keys[string(kv.Key)] = etcd.Revisions{Created: kv.Created, Modified: kv.Modified}
	}
	return keys, nil
}

// compareKeys lists every difference. An object that was deleted and created again
// under its name is another object.
func compareKeys(then, now map[string]etcd.Revisions) Loss {
	loss := Loss{Created: map[string]bool{}, Gone: map[string]bool{}}
	kinds := map[string]*KindLoss{}
	kind := func(key string) *KindLoss {
		name := kindOfKey(key)
		if kinds[name] == nil {
			kinds[name] = &KindLoss{Kind: name}
		}
		return kinds[name]
	}
	for key, is := range now {
		was, there := then[key]
		switch {
		case !there || was.Created != is.Created:
			kind(key).Created++
			loss.Created[key] = true
		case was.Modified != is.Modified:
			kind(key).Changed++
		}
	}
	for key, was := range then {
		if is, there := now[key]; !there || was.Created != is.Created {
			kind(key).Deleted++
			loss.Gone[key] = true
		}
	}
	for _, name := range sortedKeys(kinds) {
		loss.Kinds = append(loss.Kinds, *kinds[name])
	}
	return loss
}

// kindOfKey is the kind of an object according to its key:
// /registry/pods/NAMESPACE/NAME, /registry/GROUP/jobsets/…, or, for historical
// reasons, /registry/services/specs/….
func kindOfKey(key string) string {
	parts := strings.Split(strings.TrimPrefix(key, "/registry/"), "/")
	switch {
	case len(parts) > 2 && strings.Contains(parts[0], "."):
		return parts[1] + "." + parts[0]
	case len(parts) > 1 && parts[0] == "services" && parts[1] == "endpoints":
		return "endpoints"
	}
	return parts[0]
}

// Jobs are the running jobs that a restore would end: those with a running pod
// that was created after the snapshot.
func (l Loss) Jobs(running []pai.Job) (ended []pai.JobRef) {
	for _, j := range running {
		if slices.ContainsFunc(j.Pods, func(p pai.Pod) bool {
			return p.Running() && l.Created["/registry/pods/"+p.Namespace+"/"+p.Name]
		}) {
			ended = append(ended, j.JobRef)
		}
	}
	return ended
}

// Back names the jobs that were deleted since and would be restored.
func (l Loss) Back() []string {
	var names []string
	for _, key := range sortedKeys(l.Gone) {
		if name, ok := strings.CutPrefix(key, "/registry/jobset.x-k8s.io/jobsets/"); ok {
			names = append(names, name)
		}
	}
	return names
}
