package cluster

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// replaceAPIProxy restarts the proxy of the API as another version. Connections are refused
// while nothing listens on its addresses, about 45 ms. A client of an older release, which
// repeats nothing, would see that. So a proxy that takes listeners gets those of a holder, and
// for one of v0.10 or older the kernel keeps new connections waiting.
func (c *cluster) replaceAPIProxy(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) error {
	i, err := c.content(ctx, h, v)
	if err != nil {
		return err
	}
	before, after := holdScript(v), ""
	if !contained(i.Upstream) {
		port := c.Config.Kubernetes.APIServersPort
		before, after = pauseScript(port), resumeScript(port, len(proxyConfigFor(c.Config, m, nil).Listen))
	}
	if _, err := h.Run(ctx, machine.Command{Script: before}); err != nil {
		return fmt.Errorf("hold the addresses of the API on %q while its proxy is replaced: %w", h.Name(), err)
	}
	err = moveAndRestart(ctx, h, plan.RoleAPIProxy, v)
	if after == "" {
		return err
	}
	if _, resumed := h.Run(ctx, machine.Command{Script: after}); resumed != nil {
		err = errors.Join(err, fmt.Errorf("let new connections to the API on %q in again: %w", h.Name(), resumed))
	}
	return err
}

// holdTimeout bounds how long the addresses of the API are held for a proxy that does
// not start.
const holdTimeout = 30 * time.Second

// holdScript ends the holder of an earlier attempt and starts the one of this
// attempt: a unit that listens on the addresses of the proxy from the moment in which the
// running proxy ends, and that passes the listeners to the next one. The script returns when
// a proxy can ask for them.
func holdScript(v pai.KubernetesVersion) string {
	return fmt.Sprintf(`systemctl stop -q %[1]s 2>/dev/null || true
systemd-run --quiet --collect --unit=%[1]s --property=Type=notify --property=TimeoutStartSec=10s \
  --property=User=nobody --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= --property=UMask=0077 \
  --property=OOMScoreAdjust=-999 --property=RuntimeDirectory=%[2]s \
  %[3]s --config=%[4]s --hold=%[5]s || { journalctl -q -o cat -n 6 -u %[1]s >&2; exit 1; }`,
		layout.APIProxyHoldUnit, layout.APIProxyRunName, path.Join(layout.VersionDir(v), "bin/api-proxy"), layout.APIProxyFile, holdTimeout)
}

const (
	pauseTable = "inet pai-api-pause"
	// pauseTimeout bounds how long new connections wait if the pause is not ended. It covers
	// the two seconds in which systemd ends a proxy.
	pauseTimeout = 5 * time.Second
)

// pauseScript drops the first packet of each new connection to a port. The kernel of the
// client sends it again after one second. The kernel of the machine ends the pause at
// pauseTimeout, also if paictl is killed.
func pauseScript(port int) string {
	return fmt.Sprintf(`nft -f - <<'END'
table %[1]s
delete table %[1]s
table %[1]s {
	set ports {
		type inet_service
		flags timeout
		elements = { %[2]d timeout %[3]s }
	}
	chain input {
		type filter hook input priority -150; policy accept;
		tcp flags & (fin | syn | rst | ack) == syn tcp dport @ports drop
	}
}
END`, pauseTable, port, pauseTimeout)
}

// resumeScript ends the pause as soon as something listens on so many addresses of the port,
// or at its timeout.
func resumeScript(port, addresses int) string {
	return fmt.Sprintf(`n=0
until [ "$(ss -Hltn 'sport = :%[2]d' | wc -l)" -ge %[3]d ] || [ $n -ge %[4]d ]; do sleep 0.02; n=$((n + 1)); done
nft delete table %[1]s`, pauseTable, port, addresses, pauseTimeout/(20*time.Millisecond))
}
