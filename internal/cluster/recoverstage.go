package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// RecoveryStage is how far a restore from a backup is.
type RecoveryStage string

const (
	RecoveryStarted    RecoveryStage = "started"    // machines are kept out
	RecoveryData       RecoveryStage = "data"       // keys, records, and etcd data are in place
	RecoveryReconciled RecoveryStage = "reconciled" // the jobs of etcd were compared with the machines
	RecoveryTokens     RecoveryStage = "tokens"     // the tokens of the REST server ended, or the operator keeps them
	RecoveryOpening    RecoveryStage = "opening"    // every machine was admitted, and the gate is being removed
	RecoveryDone       RecoveryStage = "done"       // every machine is admitted, and there is no gate
)

// compared reports whether an API server can serve the restored data.
func (s RecoveryStage) compared() bool {
	return s == RecoveryReconciled || s.tokensEnded()
}

// tokensEnded reports whether the tokens of the backup need nothing any more.
func (s RecoveryStage) tokensEnded() bool { return s == RecoveryTokens || s.open() }

// open reports whether no machine is kept out any more, with or without a gate.
func (s RecoveryStage) open() bool { return s == RecoveryOpening || s == RecoveryDone }

// placed reports whether the data of the backup were put in place.
func (s RecoveryStage) placed() bool { return s == RecoveryData || s.compared() }

// Recovered is the content of layout.RecoveryFile.
type Recovered struct {
	Backup string        `json:"backup"`
	Taken  time.Time     `json:"taken"`
	Stage  RecoveryStage `json:"stage"`
}

// ReadRecovered reads how far a restore from a backup is; nil if there was none.
func ReadRecovered(ctx context.Context, h machine.Host) (*Recovered, error) {
	data, err := h.ReadFile(ctx, layout.RecoveryFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r Recovered
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s on %q: %w", layout.RecoveryFile, h.Name(), err)
	}
	return &r, nil
}

func writeRecovered(ctx context.Context, h machine.Host, r Recovered) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return h.WriteFile(ctx, layout.RecoveryFile, append(data, '\n'), 0o644)
}

// checkReconciled refuses to serve restored data that were not compared with the
// machines: its controllers would run jobs again that have ended.
func checkReconciled(ctx context.Context, h machine.Host) error {
	r, err := ReadRecovered(ctx, h)
	if err != nil || r == nil || r.Stage.compared() {
		return err
	}
	return pai.Errorf(pai.CodeRefused, "continue the restore; run: paictl cluster restore",
		"%q is being restored from backup %s, and its jobs were not compared with the machines yet", h.Name(), r.Backup)
}

// recoveryStage is how far the restore of this backup is; empty if it did not start.
func (c *cluster) recoveryStage(ctx context.Context, h machine.Host) (RecoveryStage, error) {
	r, err := ReadRecovered(ctx, h)
	if err != nil || r == nil || r.Backup != c.Recovery.Backup {
		return "", err
	}
	return r.Stage, nil
}

func (c *cluster) setStage(ctx context.Context, h machine.Host, s RecoveryStage) error {
	return writeRecovered(ctx, h, Recovered{c.Recovery.Backup, c.Recovery.Taken, s})
}
