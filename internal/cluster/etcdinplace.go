package cluster

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// replaceEtcdTimeout limits the restart on the machine: 30 s for the new etcd to serve and
// 30 s for the old one, 15 s for each API server to end, and the questions.
const replaceEtcdTimeout = 3 * time.Minute

// restartEtcd restarts one of several voters in place, with another version or other
// settings: the same slot, the same member, the same data. A handover would need a fourth
// voter, two of them on one machine, which could then stop etcd alone. A transient unit
// on the machine does it and asks the quorum rule there, so a lost connection changes
// nothing.
func (c *cluster) restartEtcd(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, slot layout.Slot) error {
	has, err := hasWAL(ctx, h, slot)
	if err != nil {
		return err
	}
	if !has { // a voter that starts without its data votes for what it acknowledged before
		return pai.Errorf(pai.CodeFailed, fmt.Sprintf("mount the disk of %s; the other control-plane machines serve meanwhile. If the disk is lost, shut the machine down and "+
			"run: paictl machine replace "+h.Name()+" --with MACHINE", layout.EtcdDir), "etcd of %q has a vote, and its data are not in %s", h.Name(), slot.EtcdData())
	}
	v := s.To.Kubernetes()
	// Its data has the members; the file must only exist, also after the machine got another disk.
	if err := writeMembership(ctx, h, slot, stateExisting, slot.Member(m.Hostname)+"="+slot.PeerURL(m.HostIP)); err != nil {
		return err
	}
	if err := c.renderRole(ctx, h, m, v, slot.Etcd); err != nil {
		return err
	}
	if err := c.prepareOlderEtcd(ctx, h, slot, v); err != nil {
		return err
	}
	path, err := writeServingScript(ctx, h, "replace-etcd.sh")
	if err != nil {
		return err
	}
	servers, err := slotStates(ctx, h, apiServerRole)
	if err != nil {
		return err
	}
	run := detached{what: "etcd restart", unit: layout.ReplaceEtcdUnit, log: "replace-etcd.log", timeout: replaceEtcdTimeout, properties: []string{startEnabled(plan.RoleAPIServerA, plan.RoleAPIServerB), fmt.Sprintf("RuntimeMaxSec=%d", int(replaceEtcdTimeout.Seconds())-10)},
		command: fmt.Sprintf("/bin/sh %s %s %s %s", path, slot.Name, machine.Quote(string(v)), layout.Helper(helper.Digest()))}
	if err := run.run(ctx, h); err != nil {
		return withJournal(ctx, h, slot.Etcd, pai.Errorf(pai.CodeOf(err), "see its journal; if the etcd of this machine hangs and the others are healthy, run on it: systemctl stop "+layout.Unit(slot.Etcd)+"; then run the same command again",
			"restart etcd on %q with that of Kubernetes %s: %w", h.Name(), v, err))
	}
	if err := c.awaitRole(ctx, h, slot.Etcd, v); err != nil {
		return err
	}
	for _, one := range layout.Slots() {
		if running := servers[one].Running; running != "" {
			if err := c.awaitRole(ctx, h, one.APIServer, running); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepareOlderEtcd has etcd store its data as an older minor, if the version has one: a
// program of that minor then starts over them. etcd ends the downgrade by itself when all
// members have the older minor.
func (c *cluster) prepareOlderEtcd(ctx context.Context, h machine.Host, slot layout.Slot, v pai.KubernetesVersion) error {
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	status, err := client.Status(ctx, slot)
	if err != nil {
		return nil // it does not run: it starts with the data that it has
	}
	i, err := c.installed(ctx, h, v)
	if err != nil {
		return err
	}
	to, from := etcd.Minor(i.Programs["etcd"]), etcd.Minor(status.Version)
	if to == "" || from == "" || pai.CompareVersions("v"+to, "v"+from) >= 0 {
		return nil
	}
	c.Progress("etcd on %s stores its data in the form of etcd %s", h.Name(), to)
	return client.Downgrade(ctx, slot, to)
}
