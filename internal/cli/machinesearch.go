package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
)

// alreadyHint is what to do about addresses that are in the layout already.
const alreadyHint = "leave out machines that are in the layout; if an earlier addition did not end, run: paictl cluster k8s-bootup"

// find reaches the machines at addresses and finds what the layout gets. All problems that can be known
// without a login are named at once, before anything is asked; then all that a login shows.
func (f addFlags) find(ctx context.Context, dir string, cfg *config.Config, addresses []string) ([]config.FoundMachine, config.Additions, error) {
	none := config.Additions{}
	reach, err := f.reach(dir)
	if err != nil {
		return nil, none, err
	}
	targets, wrong := cfg.Targets(addresses, reach)
	_, wrongSKU := cfg.Place(nil, f.sku)
	if n := len(cfg.ControlPlanes()) + len(addresses); f.controlPlane && n != 3 && n != 5 {
		wrong = append(wrong, fmt.Sprintf("the cluster would have %d control-plane machines: it can have 1, 3, or 5", n))
	}
	env, id := f.operate.cluster.env, cfg.Services.Cluster.Common.ClusterID
	known := filepath.Join(env.dirs().ClusterDir(id), "known_hosts")
	keys := hostKeysOf(ctx, targets, known, f.hostKeys.knownHosts)
	if err := ctx.Err(); err != nil {
		return nil, none, err
	}
	unread, hint := unreadKeys(keys)
	if wrong := append(wrong, wrongSKU...); len(wrong) > 0 {
		return nil, none, cannotAdd(pai.CodeUsage, []string{"pass the IPv4 addresses at which the machines reach each other", alreadyHint}, append(wrong, unread...))
	}
	if len(unread) > 0 {
		return nil, none, cannotAdd(pai.CodeFailed, []string{hint}, unread)
	}
	if err := env.trustKeys(keys, known, *f.hostKeys); err != nil {
		return nil, none, err
	}
	found, failed, err := queryEach(ctx, env, id, targets)
	if err != nil {
		return nil, none, err
	}
	if err := ctx.Err(); err != nil {
		return nil, none, err
	}
	add, problems := cfg.Place(found, f.sku)
	if f.controlPlane {
		for i := range add.Machines {
			add.Machines[i].Role = config.RoleControlPlane
		}
	}
	for _, err := range failed {
		problems = append(problems, err.Error())
	}
	switch {
	case len(failed) > 0:
		return nil, none, cannotAdd(pai.CodeFailed, hintsOf(failed), problems)
	case len(problems) > 0:
		return nil, none, cannotAdd(pai.CodeRefused, []string{"give each machine another host name with hostnamectl set-hostname, then run the same command again"}, problems)
	}
	return found, add, config.CheckAddMachines(dir, add)
}

// reach is how the machines are reached: as the flags say, else as those of the layout.
func (f addFlags) reach(dir string) (config.Machine, error) {
	m, err := config.SharedReach(dir)
	if err != nil {
		return m, err
	}
	if f.port < 0 || f.port > 65535 {
		return m, pai.Errorf(pai.CodeUsage, "pass a number from 1 to 65535 to --port", "%d is not a port", f.port)
	}
	if f.user != "" || f.key != "" {
		m.Password = "" // it is for the user of the layout
	}
	if f.key != "" {
		if m.KeyfilePath, err = filepath.Abs(f.key); err != nil {
			return m, fmt.Errorf("find the key: %w", err)
		}
	}
	if f.user != "" {
		m.Username = f.user
	}
	if f.port != 0 {
		m.SSHPort = f.port
	}
	return m, nil
}

// cannotAdd lists all problems.
func cannotAdd(code pai.Code, hints, problems []string) error {
	return pai.Errorf(code, strings.Join(append(hints, "nothing was changed"), "; "), "the machines cannot be added:\n  %s", strings.Join(problems, "\n  "))
}
