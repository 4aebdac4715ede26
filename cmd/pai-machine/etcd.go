package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/etcd/quorum"
	"pai.dev/pai/internal/layout"
)

// The questions about the etcd in a slot that the script of a restart asks.
const (
	etcdCanStop    = "etcd-can-stop"    // the quorum rule
	etcdMoveLeader = "etcd-move-leader" // another machine leads
	etcdServes     = "etcd-serves"      // it votes, is healthy, and is close to the others
)

// etcdTimeout limits a question. Each request in it has a limit as well.
const etcdTimeout = 10 * time.Second

func isEtcdQuestion(arg string) bool {
	return slices.Contains([]string{etcdCanStop, etcdMoveLeader, etcdServes}, arg)
}

// askEtcd answers a question about the etcd in a slot: nil is yes.
func askEtcd(ctx context.Context, question, slot string) error {
	at := slices.IndexFunc(layout.Slots(), func(s layout.Slot) bool { return s.Name == slot })
	if at < 0 {
		return fmt.Errorf("slot %q not found", slot)
	}
	local, err := quorum.NewLocal("/", fmt.Sprintf("https://127.0.0.1:%d", layout.Slots()[at].EtcdClientPort))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, etcdTimeout, fmt.Errorf("no answer within %s", etcdTimeout))
	defer cancel()
	if question == etcdMoveLeader {
		return local.MoveLeader(ctx)
	}
	state, own := local.State(ctx)
	if state.Unknown == "" && own == "" {
		return errors.New("etcd lists no member that is this one")
	}
	if question == etcdServes {
		return state.Serves(own)
	}
	return state.CanStop(own)
}
