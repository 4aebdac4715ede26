package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Faults lists every fault by name. random decides the instants of those that
// strike at any.
func Faults(random *rand.Rand) []Fault {
	return []Fault{
		{Name: "none", What: "nothing: the undisturbed upgrade that the others are compared with"},
		{Name: "kill-every-step", What: "kill -9 at the end of every step of one upgrade", Inject: killAtEverySteps},
		{Name: "mixed", What: "kill -9 at the end of every step of one upgrade; within some steps also ssh cut, API servers killed, Ctrl-C once and twice", Inject: mixed},
		{Name: "kill-inside", What: "kill -9 within the handovers of etcd and API server, the in-place replacement of the kubelet, and services, every 0.4 s", Inject: killInside},
		{Name: "kill-random", What: "kill -9 at random instants, five times", Inject: killAtRandom(random)},
		{Name: "ctrl-c", What: "Ctrl-C once (stop at the next safe point), five times", Inject: interrupt(random, 1)},
		{Name: "ctrl-c-twice", What: "Ctrl-C twice (stop now), five times", Inject: interrupt(random, 2)},
		{Name: "ssh-cut", What: "the machine ends every ssh connection, in several steps", Inject: cutSSH},
		{Name: "ssh-silent", What: "the machine's ssh packets are lost for 10 s, and for 60 s", Inject: silenceSSH},
		{Name: "disk-full", What: "the disk of /opt/pai, /var/lib/pai and /var/lib/etcd is full, from several steps on until the command fails", Prepare: makeSmallDisk, Inject: fillDisk},
		{Name: "api-500", What: "the API answers 500 to everything, for 15 s in several steps", Inject: faultProxy("500")},
		{Name: "api-reset", What: "the API resets every connection, for 15 s in several steps", Inject: faultProxy("reset")},
		{Name: "api-hang", What: "the API answers nothing, for 15 s in several steps", Inject: faultProxy("hang")},
		{Name: "apiserver-killed", What: "every API server is killed, every 10 s", Inject: always(killAPIServer)},
		{Name: "apiserver-stopped", What: "every API server and every etcd stands still for 8 s, in several steps", Inject: stopAPIServer},
		{Name: "killed-unobserved", What: "kill -9 within three steps, and API server and etcd stand still until the next command has planned and started", Inject: killUnobserved},
		{Name: "flaky-jobs", What: "beside the job, twenty tasks fail at random moments, four exceed their memory limit, and one is killed while the kubelet is replaced: only that one was interrupted",
			Besides: submitFlaky, Check: checkFlaky, Inject: killVictim},
		{Name: "kill-rollback", What: "an upgrade is killed before its commit and rolled back, then a whole one is rolled back; kill -9 at the end of every step of both rollbacks",
			Before: killRollbacks, Leaves: snapshotsOfRollbacks()},
		{Name: "clean-in-handover", What: "kill -9 while etcd is handed over, then a clean and a boot: the data must come back", NoJob: true, Apart: true, Inject: always(cleanInHandover)},
		{Name: "reboot-worker", What: "a machine without jobs is rebooted in the middle, twice", Machines: 2, Idle: "pai-2", Inject: reboot("pai-2", "machine/pai-2/images", "machine/pai-2/kubelet")},
		{Name: "reboot-busy", What: "the machine that the job runs on is rebooted in the middle: the report must name that cause, and the rest must converge", Machines: 2, Idle: "pai-1",
			Ends: "machine pai-2 ", Rebooted: "pai-2", Inject: reboot("pai-2", "cluster/etcd")},
		{Name: "reboot-control-plane", What: "the control plane's machine, without jobs, is rebooted in the middle, three times", Machines: 2, Idle: "pai-1",
			Inject: reboot("pai-1", "cluster/etcd", "cluster/apiserver", "services/"+To+"/kueue")},
	}
}

// Find finds faults by name.
func Find(name string, seed uint64) (Fault, error) {
	for _, f := range Faults(rand.New(rand.NewPCG(seed, 0))) {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("there is no fault %q", name)
}

// killAtEverySteps kills paictl at the first end of each step.
func killAtEverySteps() Inject {
	seen := map[string]bool{}
	return func(_ context.Context, c *Cluster, a *Attempt, _ int) (bool, error) {
		var id string
		killed := a.until(func(e Event) bool {
			id = e.Step.ID
			return e.Kind == "step-ended" && e.done() && !seen[id]
		})
		if killed {
			seen[id] = true
			a.Kill()
			c.logf("  killed at the end of %s", id)
		}
		return killed, nil
	}
}

// mixed is killAtEverySteps with other faults in between: the part of all
// this that runs in every test.
func mixed() Inject {
	type within struct {
		step   string
		after  time.Duration
		inject func(context.Context, *Cluster, *Attempt) error
	}
	extra := []within{
		{"cluster/etcd", 2 * time.Second, func(_ context.Context, _ *Cluster, a *Attempt) error { a.Kill(); return nil }},
		{"cluster/etcd", 4 * time.Second, func(_ context.Context, _ *Cluster, a *Attempt) error { a.Kill(); return nil }},
		{"cluster/etcd", 3 * time.Second, func(ctx context.Context, c *Cluster, _ *Attempt) error { return c.cutSSH(ctx) }},
		{"cluster/apiserver", 2 * time.Second, func(_ context.Context, _ *Cluster, a *Attempt) error { a.Kill(); return nil }},
		{"cluster/apiserver", 3 * time.Second, func(_ context.Context, _ *Cluster, a *Attempt) error { a.interruptTwice(); return nil }},
		{"/controller-manager", 200 * time.Millisecond, func(ctx context.Context, c *Cluster, _ *Attempt) error { return c.killAPIServers(ctx) }},
		{"/kubelet", 300 * time.Millisecond, func(_ context.Context, _ *Cluster, a *Attempt) error { a.Kill(); return nil }},
		{"/jobset", 500 * time.Millisecond, func(_ context.Context, _ *Cluster, a *Attempt) error { a.Interrupt(); return nil }},
	}
	seen := map[string]bool{}
	return func(ctx context.Context, c *Cluster, a *Attempt, _ int) (bool, error) {
		for e := range a.Events {
			id := e.Step.ID
			switch {
			case e.Kind == "step-ended" && e.done() && !seen[id]:
				seen[id] = true
				a.Kill()
				c.logf("  killed at the end of %s", id)
				return true, nil
			case e.Kind == "step-started":
				i := slices.IndexFunc(extra, func(x within) bool { return strings.HasSuffix(id, x.step) })
				if i < 0 {
					continue
				}
				next := extra[i]
				extra = slices.Delete(extra, i, i+1)
				if !a.within(next.after) {
					return true, nil
				}
				c.logf("  injected %s within %s", next.after, id)
				if err := next.inject(ctx, c, a); err != nil {
					return true, err
				}
			}
		}
		return true, nil
	}
}

// killInside kills paictl later and later within the steps that hand
// something over, until they end before: so every part of them is cut.
func killInside() Inject {
	const every = 400 * time.Millisecond
	after := map[string]time.Duration{}
	over := map[string]bool{}
	return func(_ context.Context, c *Cluster, a *Attempt, _ int) (bool, error) {
		for {
			id, ok := a.started("cluster/etcd", "cluster/apiserver", "/kubelet", "cluster/dns", "cluster/record", "/jobset", "/kueue", "/rest-server")
			if !ok {
				return false, nil
			}
			if over[id] || after[id] > 5*time.Second {
				continue // cut often enough; it must end some time
			}
			after[id] += every
			if a.endedWithin(id, after[id]) {
				over[id] = true
				continue
			}
			a.Kill()
			c.logf("  killed %s within %s", after[id], id)
			return true, nil
		}
	}
}

// always is for an Inject without state.
func always(h Inject) func() Inject { return func() Inject { return h } }

// inSteps calls inject once in each of the steps, whichever attempt comes to it,
// and after each continues with the same attempt.
func inSteps(steps []string, inject func(ctx context.Context, c *Cluster, a *Attempt, step string) error) func() Inject {
	return func() Inject {
		left := slices.Clone(steps)
		return func(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
			for len(left) > 0 && n < 3*len(steps) {
				id, ok := a.started(left...)
				if !ok || !a.within(0) { // a step that began is no target once paictl has ended
					return true, nil
				}
				left = slices.DeleteFunc(left, func(s string) bool { return strings.HasSuffix(id, s) })
				if err := inject(ctx, c, a, id); err != nil {
					return false, err
				}
			}
			return false, nil
		}
	}
}

// between is a random time.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

func killAtRandom(random *rand.Rand) func() Inject {
	return always(func(_ context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
		after := between(random, time.Second, 20*time.Second)
		if n >= 5 || !a.within(after) {
			return false, nil
		}
		a.Kill()
		c.logf("  killed after %s", after)
		return true, nil
	})
}

func interrupt(random *rand.Rand, times int) func() Inject {
	return always(func(_ context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
		if n >= 5 {
			return false, nil
		}
		if _, ok := a.started(); !ok {
			return false, nil
		}
		after := between(random, 0, 9*time.Second)
		if !a.within(after) {
			return false, nil
		}
		for range times {
			a.Interrupt()
			a.within(300 * time.Millisecond)
		}
		c.logf("  interrupted after %s", after)
		return true, nil
	})
}
