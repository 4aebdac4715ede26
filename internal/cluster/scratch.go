package cluster

import (
	"fmt"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Scratch data is on the disk of the snapshots, which has the space for it, in
// a directory that is named by the process that uses it.
const (
	// staleScratch prints the scratch directories whose process has ended.
	staleScratch = `for d in ` + layout.SnapshotsDir + `/.scratch-*; do [ ! -d "$d" ] || [ -d "/proc/${d##*-}" ] || echo "$d"; done`
	// makeScratch makes $scratch. It is the target of $SCRATCH, so it is removed
	// when the script ends or is killed.
	makeScratch = `umask 077
install -d -m 0700 ` + layout.SnapshotsDir + `
` + staleScratch + ` | xargs -r rm -rf
scratch=` + layout.SnapshotsDir + `/.scratch-$$
ln -s "$scratch" "$SCRATCH"
rm -rf "$scratch"
mkdir "$scratch"
cd "$scratch"
said=
fail() { printf '%s\n' "$said" | tail -3 >&2; exit 1; } # no log file: the disk may be full
`
)

// serveScratch serves the directory data with the etcd of a version, on sockets
// in the scratch directory, until the script ends. $ask is its etcdctl.
func serveScratch(v pai.KubernetesVersion) string {
	return fmt.Sprintf(`
served=
trap '[ -z "$served" ] || kill -KILL "$served" 2>/dev/null || :; wait' EXIT
%[1]s --name scratch --data-dir data --log-level warn --listen-client-urls unix://client:0 --advertise-client-urls unix://client:0 \
    --listen-peer-urls unix://peer:0 --initial-advertise-peer-urls unix://peer:0 --initial-cluster scratch=unix://peer:0 >log 2>&1 &
served=$!
ask="%[2]s --endpoints unix://client:0"
n=0
until $ask --dial-timeout=1s --command-timeout=2s endpoint health >/dev/null 2>&1; do
    n=$((n + 1))
    [ "$n" -lt 300 ] && kill -0 "$served" 2>/dev/null || { tail -3 log >&2; exit 1; }
    sleep 0.1
done
`, layout.Program(v, "etcd"), layout.Program(v, "etcdctl"))
}

// keepSnapshot verifies snapshot.db in the scratch directory by restoring it. If
// it holds keys, it moves to file.
func keepSnapshot(v pai.KubernetesVersion, file string) string {
	return fmt.Sprintf(`
%[1]s snapshot status snapshot.db -w json | grep -q '"totalKey":[1-9]' || { echo "the snapshot holds no keys" >&2; exit 1; }
said=$(%[1]s snapshot restore snapshot.db --data-dir restored 2>&1) || fail
[ -e restored/member/snap/db ]
sync snapshot.db
mv -T snapshot.db %[2]s`, layout.Program(v, "etcdutl"), file)
}
