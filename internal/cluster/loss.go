package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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

// scratchScript serves a snapshot from a scratch directory and prints its keys. It
// listens only on sockets in that directory.
const scratchScript = `
%[1]s
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; wait' EXIT
cd "$scratch"
%[2]s snapshot restore %[3]s --data-dir data >log 2>&1 || { tail -3 log >&2; exit 1; }
%[4]s --data-dir data --listen-client-urls unix://client:1 --advertise-client-urls http://localhost:2379 \
    --listen-peer-urls unix://peer:1 --initial-advertise-peer-urls http://localhost:2380 --initial-cluster default=http://localhost:2380 \
    --log-level error >>log 2>&1 &
pid=$!
n=0
until %[5]s --endpoints unix://client:1 --dial-timeout=1s --command-timeout=2s endpoint health >/dev/null 2>&1; do
    n=$((n + 1))
    [ "$n" -lt 60 ] && kill -0 "$pid" 2>/dev/null || { tail -5 log >&2; exit 1; }
    sleep 0.1
done
stat -c %%Y %[3]s
%[5]s --endpoints unix://client:1 get /registry/ --prefix --keys-only -w json`

func lossOf(ctx context.Context, h machine.Host, from layout.Slot, v pai.KubernetesVersion, snapshot string) (Loss, error) {
	out, err := sh(ctx, h, scratchScript, makeScratch, layout.Program(v, "etcdutl"), snapshot, layout.Program(v, "etcd"), layout.Program(v, "etcdctl"))
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
		return Loss{}, err
	}
	out, err = sh(ctx, h, "%s get /registry/ --prefix --keys-only -w json", etcdctl(v, from))
	if err != nil {
		return Loss{}, fmt.Errorf("read the keys of etcd: %w", err)
	}
	now, err := parseKeys([]byte(out))
	if err != nil {
		return Loss{}, err
	}
	loss := compareKeys(then, now)
	loss.Snapshot, loss.Taken = snapshot[strings.LastIndexByte(snapshot, '/')+1:], time.Unix(seconds, 0)
	return loss, nil
}

// lossTimeout limits the comparison. etcd holds at most gigabytes.
const lossTimeout = 3 * time.Minute

// keyState has the revisions of the creation and the last change of an object.
type keyState struct {
	Created  int64 `json:"create_revision"`
	Modified int64 `json:"mod_revision"`
}

func parseKeys(data []byte) (map[string]keyState, error) {
	var answer struct {
		KVs []struct {
			Key []byte `json:"key"`
			keyState
		} `json:"kvs"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("read the keys of etcd: %w", err)
	}
	keys := make(map[string]keyState, len(answer.KVs))
	for _, kv := range answer.KVs {
		keys[string(kv.Key)] = kv.keyState
	}
	return keys, nil
}

// compareKeys lists every difference. An object that was deleted and created again
// under its name is another object.
func compareKeys(then, now map[string]keyState) Loss {
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
