package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

func (c *cluster) reconcileDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	stage, err := c.recoveryStage(ctx, h)
	return stage.compared(), err
}

// reconcile compares the jobs of the restored etcd with the machines, and holds those
// that must not run again. No API server runs yet.
func (c *cluster) reconcile(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	slot := layout.SlotA
	if states[slot].Running == "" {
		slot = layout.SlotB
	}
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	// First what a run that was killed had decided: with a part of its changes, the data
	// no longer show that a job had started.
	if err := applyHeld(ctx, h, client, slot); err != nil {
		return err
	}
	values, err := client.Values(ctx, slot, source.JobPrefixes())
	if err != nil {
		return err
	}
	data := JobData(values)
	jobs, err := c.Recovery.Jobs(data)
	if err != nil {
		return fmt.Errorf("read the jobs of backup %s: %w", c.Recovery.Backup, err)
	}
	found := Compare(jobs, c.presences(ctx))
	if err := c.Recovery.Reconciled(ctx, found); err != nil {
		return err
	}
	records, err := data.Records()
	if err != nil {
		return err
	}
	changes := make([]Carried, len(found.Held))
	for i, j := range found.Held {
		changes[i], err = hold(records[j.key()], data, j.Namespace, j.Object, "the restore of backup "+c.Recovery.Backup, time.Now())
		if err != nil {
			return err
		}
	}
	if err := writeHeld(ctx, h, changes); err != nil {
		return err
	}
	if err := applyHeld(ctx, h, client, slot); err != nil {
		return err
	}
	return c.setStage(ctx, h, RecoveryReconciled)
}

// heldFile has the changes that hold jobs, one set for each job. It exists while they
// are not complete.
const heldFile = layout.SnapshotsDir + "/.held.json"

func writeHeld(ctx context.Context, h machine.Host, changes []Carried) error {
	if len(changes) == 0 {
		return nil
	}
	data, err := json.Marshal(changes)
	if err != nil {
		return fmt.Errorf("encode the jobs that must not run again: %w", err)
	}
	if _, err := sh(ctx, h, "install -d -m 0700 %s", layout.SnapshotsDir); err != nil {
		return err
	}
	return h.WriteFile(ctx, heldFile, data, 0o600) // jobs can contain secrets
}

// applyHeld makes the changes of heldFile, and removes it.
func applyHeld(ctx context.Context, h machine.Host, client *etcd.Client, slot layout.Slot) error {
	data, err := h.ReadFile(ctx, heldFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var changes []Carried
	if err := json.Unmarshal(data, &changes); err != nil {
		return fmt.Errorf("%s on %q is damaged: %w", heldFile, h.Name(), err)
	}
	for _, one := range changes {
		if err := client.Replace(ctx, slot, one.Put, one.Remove); err != nil {
			return fmt.Errorf("keep a job from running again: %w", err)
		}
	}
	return h.Remove(ctx, heldFile)
}

// presences asks all machines of the configuration. The machine that was backed up has
// nothing if another one takes its place.
func (c *cluster) presences(ctx context.Context) map[string]Presence {
	found := Presences(ctx, c.Hosts, c.Config.MachineNames())
	if _, configured := found[c.Recovery.Machine]; !configured {
		found[c.Recovery.Machine] = Presence{}
	}
	return found
}
