package isolate

import (
	"context"
	"time"

	"k8s.io/klog/v2"
)

// guard has the rules of others come back: "nft flush ruleset" removes all of them.
type guard struct {
	table   string
	after   int // for how many looks the table was missing before it is restored
	restore func(context.Context) error

	seen bool // the table existed while this program ran
	gone int
	last time.Time // of a restore
}

// restorePause is how long a restored table has to come before it is tried again.
const restorePause = 30 * time.Second

// Guard has restore called when a table is missing that the caller has written. The table
// can be removed before the first look.
func (k *Keeper) Guard(table string, restore func(context.Context) error) {
	k.guard(&guard{table: table, after: 1, restore: restore, seen: true})
}

// GuardUnit has a unit of systemd started again when its table existed and is missing for
// seconds, which is longer than its own replacement takes.
func (k *Keeper) GuardUnit(table, unit string) {
	k.guard(&guard{table: table, after: 5, restore: func(ctx context.Context) error {
		_, err := run(ctx, "", "systemctl", "try-restart", "--no-block", unit)
		return err
	}})
}

func (k *Keeper) guard(g *guard) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.guards = append(k.guards, g)
}

func (g *guard) look(ctx context.Context, there bool) {
	if there {
		g.seen, g.gone = true, 0
		return
	}
	if g.gone++; !g.seen || g.gone < g.after || time.Since(g.last) < restorePause && g.after > 1 {
		return
	}
	klog.InfoS("something removed the rules of a table; restoring them", "table", g.table)
	g.last = time.Now()
	if err := g.restore(ctx); err != nil && ctx.Err() == nil {
		klog.ErrorS(err, "the rules were not restored; trying again", "table", g.table)
	}
}
