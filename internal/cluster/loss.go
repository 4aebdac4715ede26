package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/backup/source"
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
	// Then and Now are what the snapshot and etcd have of jobs.
	Then, Now JobData
	// UsersChanged reports whether the users of the REST server changed since. They
	// stay as they are: a restore brings no revoked token back.
	UsersChanged bool
	users        []byte // as etcd has them; nil if it has none
	// Unknown is why the differences are unknown; empty if they are known.
	Unknown string
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

// content is what a snapshot or etcd holds: all keys, and the values of jobs. users
// is read only from etcd.
type content struct {
	keys  map[string]etcd.Revisions
	jobs  JobData
	users []byte
}

// scratchContent is a script that prints the time of a snapshot, its keys, and the
// values of jobs, one line each.
func scratchContent(v pai.KubernetesVersion, snapshot string) string {
	script := fmt.Sprintf(`%s
said=$(%s snapshot restore %[3]s --data-dir data 2>&1) || fail
%[4]s
stat -c %%Y %[3]s
$ask get /registry/ --prefix --keys-only -w json`, source.MakeScratch, layout.Program(v, "etcdutl"), snapshot, source.ServeScratch(v))
	for _, prefix := range source.JobPrefixes() {
		script += fmt.Sprintf("\n$ask get %s --prefix -w json", prefix)
	}
	return script
}

// readSnapshot reads a snapshot with the programs of a version, and when it was taken.
func readSnapshot(ctx context.Context, h machine.Host, v pai.KubernetesVersion, snapshot string) (content, time.Time, error) {
	fail := func(err error) (content, time.Time, error) {
		return content{}, time.Time{}, fmt.Errorf("read the snapshot %s: %w", snapshot, err)
	}
	out, err := sh(ctx, h, "%s", scratchContent(v, snapshot))
	if err != nil {
		return fail(err)
	}
	lines := strings.Split(out, "\n")
	if want := 2 + len(source.JobPrefixes()); len(lines) != want {
		return fail(fmt.Errorf("got %d lines, want %d", len(lines), want))
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(lines[0]), 10, 64)
	if err != nil {
		return fail(err)
	}
	c := content{jobs: JobData{}}
	if c.keys, err = parseKeys([]byte(lines[1])); err != nil {
		return fail(err)
	}
	for _, line := range lines[2:] {
		if err := source.AddValues([]byte(line), c.jobs); err != nil {
			return fail(err)
		}
	}
	return c, time.Unix(seconds, 0), nil
}

func readLive(ctx context.Context, client *etcd.Client, s layout.Slot) (c content, err error) {
	if c.keys, err = client.Keys(ctx, s, "/registry/"); err != nil {
		return content{}, err
	}
	if c.jobs, err = client.Values(ctx, s, source.JobPrefixes()); err != nil {
		return content{}, err
	}
	values, err := client.Values(ctx, s, []string{usersKey})
	c.users = values[usersKey]
	return c, err
}

func lossOf(ctx context.Context, h machine.Host, from layout.Slot, v pai.KubernetesVersion, snapshot string) (Loss, error) {
	then, taken, err := readSnapshot(ctx, h, v, snapshot)
	if err != nil {
		return Loss{}, err
	}
	client, err := etcd.Open(ctx, h)
	if err != nil {
		return Loss{}, err
	}
	defer client.Close()
	now, err := readLive(ctx, client, from)
	if err != nil {
		return Loss{}, err
	}
	return compareContent(snapshot, taken, then, now), nil
}

func compareContent(snapshot string, taken time.Time, then, now content) Loss {
	loss := compareKeys(then.keys, now.keys)
	loss.Snapshot, loss.Taken = path.Base(snapshot), taken
	loss.Then, loss.Now, loss.users = then.jobs, now.jobs, now.users
	return loss
}

// lossTimeout limits the comparison. etcd holds at most gigabytes.
const lossTimeout = 3 * time.Minute

func parseKeys(data []byte) (map[string]etcd.Revisions, error) {
	var answer source.Printed
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
		case key == usersKey: // below
		case !there || was.Created != is.Created:
			kind(key).Created++
			loss.Created[key] = true
		case was.Modified != is.Modified:
			kind(key).Changed++
		}
	}
	loss.UsersChanged = then[usersKey] != now[usersKey]
	for key, was := range then {
		if is, there := now[key]; key != usersKey && (!there || was.Created != is.Created) {
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
