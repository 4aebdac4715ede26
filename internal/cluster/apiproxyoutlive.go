package cluster

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// A proxy passes bytes, so it cannot ask a client to connect again, as an API server does
// before it stops. What it can do is to serve its connections until they end. A file in
// outliveDir makes systemd start the next proxy beside it.
const (
	outliveDir = "/run/systemd/system/" + layout.UnitPrefix + string(layout.RoleAPIProxy) + ".service.d"

	// releasedFile is what the proxy that runs reads instead of its configuration while it
	// releases its addresses. It is mounted over layout.APIProxyFile, so that a reboot in this
	// moment changes nothing.
	releasedFile = layout.RunDir + "/api-proxy-released.json"

	// releaseTimeout bounds how long the proxy has for it. It reads its configuration five
	// times a second.
	releaseTimeout = 2 * time.Second
	// proxyReplaceTimeout bounds the unit that replaces the proxy.
	proxyReplaceTimeout = 20 * time.Second
	// outliveTimeout bounds how long a proxy that was replaced serves its connections. In a
	// hop, they end with the next handover of the API server, about a minute later.
	outliveTimeout = 10 * time.Minute
)

// releaseAndRestart lets the proxy release its addresses, starts the next one as a version, and
// returns while the old process serves its connections. A unit does it, because a machine
// without a listener must not be left by a connection of paictl that ends. The unit unmounts if
// its shell is killed. Both units have a description of one line: systemd would make one of the
// script, and could not read the unit again after a reload.
func releaseAndRestart(ctx context.Context, h machine.Host, port int, released []byte, v pai.KubernetesVersion) error {
	if err := h.WriteFile(ctx, releasedFile, released, 0o644); err != nil {
		return err
	}
	unit := layout.Unit(plan.RoleAPIProxy)
	_, err := sh(ctx, h, `%[1]s
SYSTEMD_OFFLINE=1 systemctl enable -q %[2]s
systemctl stop -q %[3]s %[4]s 2>/dev/null || true
main=$(systemctl show --property=MainPID --value %[2]s)
systemd-run --quiet --collect --wait --pipe --unit=%[3]s --description='PAI: replacement of the API proxy' \
  --property=RuntimeMaxSec=%[5]d --property=OOMScoreAdjust=-999 --property='ExecStopPost=-/bin/umount -ql %[9]s' /bin/sh -euc %[6]s sh "$main"
systemd-run --quiet --collect --unit=%[4]s --description='PAI: end of the replaced API proxy' --property=RuntimeMaxSec=%[7]d /bin/sh -euc %[8]s sh "$main"`,
		moveLink(plan.RoleAPIProxy, v), unit, layout.APIProxyReplaceUnit, layout.APIProxyOutliveUnit,
		int(proxyReplaceTimeout.Seconds()), machine.Quote(releaseScript(port)), int((outliveTimeout + time.Minute).Seconds()), machine.Quote(drainScript(port)),
		layout.APIProxyFile)
	if err != nil {
		return withJournal(ctx, h, plan.RoleAPIProxy, fmt.Errorf("start %s of Kubernetes %s beside the one that runs on %q: %w", plan.RoleAPIProxy, v, h.Name(), err))
	}
	return nil
}

// releaseScript lets process $1 release the addresses of the port and starts the unit again. A
// process that does not release them ends with the restart. Those that an earlier replacement
// left end first: one of v0.10 would take the addresses. systemd waits TimeoutStopSec for a
// process that it does not signal.
func releaseScript(port int) string {
	return fmt.Sprintf(`umount -l %[4]s 2>/dev/null || true
left=$(grep -ls '/%[1]s$' /proc/[0-9]*/cgroup | cut -d/ -f3 || true)
for pid in $left; do
  [ "$pid" = "$1" ] || kill -KILL "$pid" 2>/dev/null || true
done
listens() { [ "$1" != 0 ] && ss -Hltnp 'sport = :%[2]d' | grep -q "pid=$1,"; }
normal() { rm -f %[3]s/outlive.conf; systemctl daemon-reload; }
trap 'umount -l %[4]s 2>/dev/null || true; rm -f %[5]s; normal' EXIT
trap 'exit 1' TERM
if listens "$1"; then
  mkdir -p %[3]s
  printf '[Service]\nKillMode=none\nTimeoutStopSec=10ms\n' >%[3]s/outlive.conf
  systemctl daemon-reload
  mount --bind %[5]s %[4]s
  n=0
  while listens "$1" && [ $n -lt %[6]d ]; do sleep 0.02; n=$((n + 1)); done
  umount -l %[4]s
  if listens "$1"; then normal; fi
fi
systemctl restart %[1]s`,
		layout.Unit(plan.RoleAPIProxy), port, outliveDir, layout.APIProxyFile, releasedFile, releaseTimeout/(20*time.Millisecond))
}

// drainScript ends process $1 of the unit as soon as it has no client, or at outliveTimeout. A
// process that has the number of one that ended does not belong to the unit.
func drainScript(port int) string {
	return fmt.Sprintf(`lives() { grep -qs '/%[1]s$' "/proc/$1/cgroup" && [ "$(systemctl show --property=MainPID --value %[1]s)" != "$1" ]; }
n=0
while lives "$1" && [ $n -lt %[3]d ]; do
  ss -Htnp state established 'sport = :%[2]d' | grep -q "pid=$1," || break
  sleep 1
  n=$((n + 1))
done
if lives "$1"; then kill "$1"; fi`,
		layout.Unit(plan.RoleAPIProxy), port, int(outliveTimeout.Seconds()))
}
