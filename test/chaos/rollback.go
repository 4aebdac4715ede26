package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// killRollbacks rolls an upgrade back before its commit and another one after it, and
// kills paictl at the end of every step of the rollbacks.
func killRollbacks(ctx context.Context, c *Cluster) error {
	a, err := c.apply(ctx)
	if err != nil {
		return err
	}
	killed := a.until(func(e Event) bool { return e.Kind == "step-ended" && strings.HasSuffix(e.Step.ID, "cluster/apiserver") })
	a.Kill()
	a.Wait()
	if !killed {
		return fmt.Errorf("the upgrade ended before its API server was replaced: %s", a.Said())
	}
	if err := c.rollBack(ctx); err != nil {
		return fmt.Errorf("before the commit: %w", err)
	}
	var whole Round
	if err := c.converge(ctx, Fault{}, &whole); err != nil || len(whole.Problems) > 0 {
		return fmt.Errorf("upgrade after the rollback: %w, %q", err, whole.Problems)
	}
	if err := c.rollBack(ctx, "--accept-risk=lose-writes-since-snapshot,interrupt-jobs"); err != nil {
		return fmt.Errorf("after the commit: %w", err)
	}
	return nil
}

// snapshotsOfRollbacks are those of a rollback past a commit: the one that it restored, and
// the one of what it undid. The next upgrade makes those of its hop again.
func snapshotsOfRollbacks() []string {
	from, to := pai.KubernetesVersion(From+"-pai"), pai.KubernetesVersion(To+"-pai")
	return []string{layout.SnapshotsDir + "/" + plan.RestoredSnapshot(from, to), fmt.Sprintf("%s/%s-to-%s.db", layout.SnapshotsDir, to, from)}
}

// rollBack gives the command again until it has nothing more to do. A step that ends for
// the first time ends paictl.
func (c *Cluster) rollBack(ctx context.Context, args ...string) error {
	inject := killAtEverySteps()
	for n := range maxAttempts {
		a, err := c.attempt(ctx, append([]string{"rollback"}, args...)...)
		if err != nil {
			return err
		}
		if _, err := inject(ctx, c, a, n); err != nil {
			return err
		}
		a.until(func(Event) bool { return false }) // to the end
		switch code := a.Wait(); {
		case ctx.Err() != nil:
			return ctx.Err()
		case code == 0:
			return c.rolledBack(ctx)
		case code != -1:
			return fmt.Errorf("a killed rollback does not continue: code %d: %s", code, a.Said())
		}
	}
	return fmt.Errorf("the rollback is not at its end after %d attempts", maxAttempts)
}

// rolledBack returns an error unless the last operation on record is a rollback that
// succeeded.
func (c *Cluster) rolledBack(ctx context.Context) error {
	out, err := c.Run(ctx, time.Minute, "upgrade", "history", "-o", "json")
	if err != nil {
		return err
	}
	var operations []struct{ Verb, Outcome string }
	if err := json.Unmarshal([]byte(out), &operations); err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	if len(operations) == 0 {
		return fmt.Errorf("no operation is on record")
	}
	if last := operations[len(operations)-1]; last.Verb != "rollback" || last.Outcome != "succeeded" {
		return fmt.Errorf("the last operation on record is %+v, want a rollback that succeeded", last)
	}
	return nil
}
