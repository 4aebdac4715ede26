package plan

import (
	"cmp"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// SnapshotName is the name of a hop's snapshot of etcd: the one before its first
// change, or the one before its commit.
func SnapshotName(from, to pai.KubernetesVersion, commit bool) string {
	if commit {
		return snapshotName(from, to, "-commit")
	}
	return snapshotName(from, to, "")
}

// RestoredSnapshot is the name of a snapshot after a rollback to a version restored
// it. The rollback left newest.
func RestoredSnapshot(to, newest pai.KubernetesVersion) string {
	return snapshotName(to, newest, "-restored")
}

const betweenVersions = "-to-"

func snapshotName(from, to pai.KubernetesVersion, suffix string) string {
	return cmp.Or(string(from.Label()), "none") + betweenVersions + string(to.Label()) + suffix + ".db"
}

// SnapshotToRestore is the snapshot that a rollback from newest to a version
// restores: of the hops that left the version, on the way to newest, the last one
// that was taken. It holds the data as the programs of the version wrote them. The
// names are sorted by time, the newest first. It is empty if there is none.
func SnapshotToRestore(names []string, to, newest pai.KubernetesVersion) string {
	i := slices.IndexFunc(names, func(n string) bool {
		hop, ok := hopOfSnapshot(n)
		return ok && hop.from == to.Label() && !newest.Less(hop.to)
	})
	if i < 0 {
		return ""
	}
	return names[i]
}

// UndoneSnapshots are the snapshots of hops that no longer happened after a rollback
// to a version restored one. A later hop must not count one of them as its own.
func UndoneSnapshots(names []string, to pai.KubernetesVersion) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		hop, ok := hopOfSnapshot(n)
		return !ok || hop.from.Less(to)
	})
}

// restorable reports whether a rollback has a snapshot, or has restored it before.
func restorable(names []string, to, newest pai.KubernetesVersion) bool {
	return SnapshotToRestore(names, to, newest) != "" || slices.Contains(names, RestoredSnapshot(to, newest))
}

type snapshotHop struct{ from, to pai.KubernetesVersion }

// hopOfSnapshot is the upgrade that a snapshot belongs to. Snapshots of a rollback,
// and restored ones, belong to none.
func hopOfSnapshot(name string) (snapshotHop, bool) {
	name, ok := strings.CutSuffix(name, ".db")
	from, to, found := strings.Cut(strings.TrimSuffix(name, "-commit"), betweenVersions)
	hop := snapshotHop{pai.KubernetesVersion(from), pai.KubernetesVersion(to)}
	return hop, ok && found && !strings.HasSuffix(to, "-restored") && hop.from.Less(hop.to)
}
