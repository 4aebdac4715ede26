package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// mountChecks look at the file systems that servers provide.
func mountChecks() []Check {
	return []Check{
		{"machine-mounts", "the servers of mounted file systems answer", Upgrade | alsoOnResume, onMachines(mounts)},
		{"machine-nfs", "machines can mount the NFS storages", Services | Upgrade | onlyWarns, nfsClients},
	}
}

// mounts: a kubelet looks at the volumes of its pods when it starts. While a server is
// silent, the new kubelet would wait instead of taking over its pods.
func mounts(m observedMachine) Result {
	if !m.MountsKnown {
		return unknownf(m.Hostname, "the mounted file systems are unknown")
	}
	var silent []string
	for _, mount := range m.NetworkMounts {
		if mount.Silent {
			silent = append(silent, fmt.Sprintf("%s (%s) at %s", mount.Source, mount.Type, mount.Path))
		}
	}
	const shown = 3
	if rest := len(silent) - shown; rest > 0 {
		silent = append(silent[:shown], fmt.Sprintf("%d more", rest))
	}
	if len(silent) > 0 {
		return failed(m.Hostname, "bring the server back, or unmount what no job uses; jobs that use it wait until then",
			"no answer within 5s from %s: a kubelet that starts would wait for it", strings.Join(silent, ", "))
	}
	return okay(m.Hostname, "%d file systems of servers answer", len(m.NetworkMounts))
}

// nfsClients: without the client, a task that mounts the storage never starts.
func nfsClients(ctx context.Context, w *world) ([]Result, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(w.Config.Services.Storages)) {
		if w.Config.Services.Storages[name].Type == pai.StorageNFS {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return w.eachMachine(ctx, func(m observedMachine) Result { return nfsClient(m, names) })
}

func nfsClient(m observedMachine, storages []string) Result {
	if !m.NFSClient {
		return failed(m.Hostname, "install it; on Debian and Ubuntu, run: apt-get install nfs-common; on Rocky: dnf install nfs-utils",
			"the machine has no client of NFS (mount.nfs), so no task with the storage %s starts there", strings.Join(storages, ", "))
	}
	return okay(m.Hostname, "the machine can mount NFS")
}
