package cluster

import (
	"fmt"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// keepSnapshot verifies snapshot.db in the scratch directory by restoring it. If
// it holds keys, it moves to file, on the disk: the hop changes etcd next.
func keepSnapshot(v pai.KubernetesVersion, file string) string {
	return fmt.Sprintf(`
%[1]s snapshot status snapshot.db -w json | grep -q '"totalKey":[1-9]' || { echo "the snapshot holds no keys" >&2; exit 1; }
said=$(%[1]s snapshot restore snapshot.db --data-dir restored 2>&1) || fail
[ -e restored/member/snap/db ]
sync snapshot.db
mv -T snapshot.db %[2]s
sync %[3]s`, layout.Program(v, "etcdutl"), file, layout.SnapshotsDir)
}
