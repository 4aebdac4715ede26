//go:build e2e

package e2e

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// killedAfterEachStep runs a command again and again and kills it after each of its steps,
// until it succeeds or has nothing left to do. It was killed atLeast times. A command can be
// refused while commands of the killed one run, or if they ended after the plan was shown.
func (o *operator) killedAfterEachStep(atLeast int, args ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	kills, refusals := 0, 0
	for range 60 {
		cmd, said := o.command(ctx, append(slices.Clone(args), "--yes", "-o", "json")...), &lockedBuffer{}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			o.t.Fatal(err)
		}
		killed, err := killAfterStep(cmd, said)
		switch {
		case killed:
			kills++
		case err == nil, strings.Contains(said.String(), "nothing is left to do"):
			if kills < atLeast {
				o.t.Errorf("it was killed only %d times", kills)
			}
			return
		case refusals < 5 && strings.Contains(said.String(), "→ run the"):
			refusals++
			o.t.Logf("after %d kills: %v\n%s", kills, err, said)
		default:
			o.t.Fatalf("after %d kills: %v\n%s", kills, err, said)
		}
	}
	o.t.Errorf("it does not end: %s", args)
}

// killAfterStep kills a command when a step of it has succeeded, or returns how it ended.
func killAfterStep(cmd *exec.Cmd, said *lockedBuffer) (killed bool, err error) {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return false, err
		case <-tick.C:
			if strings.Contains(said.String(), `"outcome":"succeeded"`) {
				_ = cmd.Process.Kill() // it can have ended
				<-done
				return true, nil
			}
		}
	}
}
