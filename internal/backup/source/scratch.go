package source

import (
	"fmt"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Scratch data is on the disk of the snapshots, which has the space for it, in
// a directory that is named by the process that uses it.
const (
	// StaleScratch prints the scratch directories whose process has ended.
	StaleScratch = `for d in ` + layout.SnapshotsDir + `/.scratch-*; do [ ! -d "$d" ] || [ -d "/proc/${d##*-}" ] || echo "$d"; done`
	// MakeScratch makes $scratch. It is the target of $SCRATCH, so it is removed
	// when the script ends or is killed.
	MakeScratch = `umask 077
install -d -m 0700 ` + layout.SnapshotsDir + `
` + StaleScratch + ` | xargs -r rm -rf
scratch=` + layout.SnapshotsDir + `/.scratch-$$
ln -s "$scratch" "$SCRATCH"
rm -rf "$scratch"
mkdir "$scratch"
cd "$scratch"
said=
fail() { printf '%s\n' "$said" | tail -3 >&2; exit 1; } # no log file: the disk may be full
`
)

// ServeScratch serves the directory data with the etcd of a version, on sockets
// in the scratch directory, until the script ends. $ask is its etcdctl.
func ServeScratch(v pai.KubernetesVersion) string {
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

// EnoughSpace refuses to fill the disk of a directory with a snapshot and the data that it
// is restored to, about twice the database. etcd stops when it cannot write, so a reserve
// stays.
func EnoughSpace(database, dir string) string {
	const reserve = 1 << 30
	return fmt.Sprintf(`free=$(($(stat -f -c '%%a * %%S' %[2]s))) size=$(stat -c %%s %[1]s)
[ "$free" -ge $((2 * size + %[3]d)) ] || { echo "a backup needs $(((2 * size + %[3]d) >> 20)) MiB on the disk of $(pwd), which has $((free >> 20)) MiB free" >&2; exit 1; }
`, database, dir, reserve)
}
