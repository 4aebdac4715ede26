package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// replaceAPIProxy starts the proxy of the API as another version. Connections would be refused
// while nothing listens on its addresses, about 45 ms, and answers would be cut off when the
// process that passes them ends. A client of an older release, which repeats nothing, would see
// both. So a proxy that takes listeners gets those of a holder, for one of v0.10 or older the
// kernel keeps new connections waiting, and the process that is replaced serves the
// connections that it has until they end.
func (c *cluster) replaceAPIProxy(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) error {
	next, err := c.content(ctx, h, v)
	if err != nil {
		return err
	}
	outlives, err := c.proxyOutlives(ctx, h, next)
	if err != nil {
		return err
	}
	port := c.Config.Kubernetes.APIServersPort
	before, after := holdScript(v), ""
	if !sinceV011(next.Upstream) {
		before, after = pauseScript(port), resumeScript(port, len(proxyConfigFor(c.Config, m, nil).Listen))
	}
	restart := func() error { return moveAndRestart(ctx, h, plan.RoleAPIProxy, v) }
	if outlives {
		released, err := c.releasedProxyFile(ctx, h)
		if err != nil {
			return err
		}
		restart = func() error { return releaseAndRestart(ctx, h, port, released, v) }
	}
	if _, err := h.Run(ctx, machine.Command{Script: before}); err != nil {
		return fmt.Errorf("hold the addresses of the API on %q while its proxy is replaced: %w", h.Name(), err)
	}
	err = restart()
	if after == "" {
		return err
	}
	if _, resumed := h.Run(ctx, machine.Command{Script: after}); resumed != nil {
		err = errors.Join(err, fmt.Errorf("let new connections to the API on %q in again: %w", h.Name(), resumed))
	}
	return err
}

// proxyOutlives reports whether the proxy that runs can serve its connections beside the next
// one. One of v0.10 or older would take its addresses again as soon as they are free. So one of
// the two must be newer: the next one, whose addresses are held, or the one that runs, which
// does not take again what it has released.
func (c *cluster) proxyOutlives(ctx context.Context, h machine.Host, next installed) (bool, error) {
	state, err := roleState(ctx, h, plan.RoleAPIProxy)
	if err != nil || state.Running == "" {
		return false, err
	}
	if sinceV011(next.Upstream) {
		return true, nil
	}
	running, err := c.content(ctx, h, state.Running)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // its directory was deleted
	}
	return err == nil && sinceV011(running.Upstream), err
}

// releasedProxyFile is the configuration of the proxy on a machine without addresses.
func (c *cluster) releasedProxyFile(ctx context.Context, h machine.Host) ([]byte, error) {
	data, err := h.ReadFile(ctx, layout.APIProxyFile)
	if err != nil {
		return nil, err
	}
	var p proxyConfig
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("%s on %q: %w", layout.APIProxyFile, h.Name(), err)
	}
	p.Listen, p.Serve = []string{}, nil
	return json.Marshal(p)
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
