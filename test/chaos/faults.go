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
		{Name: "kill-every-step", What: "kill -9 at the end of every step of one upgrade", Harm: killAtEverySteps()},
		{Name: "medley", What: "kill -9 at the end of every step of one upgrade; within some steps also ssh cut, API servers killed, Ctrl-C once and twice", Harm: medley()},
		{Name: "kill-inside", What: "kill -9 within the hand-overs of etcd and API server, the kubelet's swap, and services, every 0.4 s", Harm: killInside()},
		{Name: "kill-random", What: "kill -9 at random instants, five times", Harm: killAtRandom(random)},
		{Name: "ctrl-c", What: "Ctrl-C once (stop at the next safe point), five times", Harm: interrupt(random, 1)},
		{Name: "ctrl-c-twice", What: "Ctrl-C twice (stop now), five times", Harm: interrupt(random, 2)},
		{Name: "ssh-cut", What: "the machine ends every ssh connection, every 5 s", Harm: cutSSH},
		{Name: "ssh-silent", What: "the machine's ssh packets are lost for 10 s, and for 60 s", Harm: silenceSSH},
		{Name: "disk-full", What: "the disk of /opt/pai, /var/lib/pai and /var/lib/etcd is full, from several steps on until the command fails", Prepare: makeSmallDisk, Harm: fillDisk},
		{Name: "api-500", What: "the API answers 500 to everything, for 15 s in several steps", Harm: standIn("500")},
		{Name: "api-reset", What: "the API resets every connection, for 15 s in several steps", Harm: standIn("reset")},
		{Name: "api-hang", What: "the API answers nothing, for 15 s in several steps", Harm: standIn("hang")},
		{Name: "apiserver-killed", What: "every API server is killed, every 10 s", Harm: killAPIServer},
		{Name: "apiserver-stopped", What: "every API server and every etcd stands still for 8 s, in several steps", Harm: stopAPIServer},
		{Name: "clean-in-handover", What: "kill -9 while etcd is handed over, then a clean and a boot: the data must come back", NoJob: true, Apart: true, Harm: cleanInHandOver},
		{Name: "reboot-worker", What: "a machine without jobs is rebooted in the middle, twice", Machines: 2, Idle: "pai-2", Harm: reboot("pai-2", "machine/pai-2/images", "machine/pai-2/kubelet")},
		{Name: "reboot-master", What: "the control plane's machine, without jobs, is rebooted in the middle, three times", Machines: 2, Idle: "pai-1",
			Harm: reboot("pai-1", "cluster/etcd", "cluster/apiserver", "services/"+To+"/kueue")},
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
func killAtEverySteps() func(context.Context, *Cluster, *Attempt, int) (bool, error) {
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

// medley is killAtEverySteps with other faults in between: the part of all
// this that runs in every test.
func medley() func(context.Context, *Cluster, *Attempt, int) (bool, error) {
	type within struct {
		step  string
		after time.Duration
		harm  func(context.Context, *Cluster, *Attempt) error
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
				c.logf("  harmed %s within %s", next.after, id)
				if err := next.harm(ctx, c, a); err != nil {
					return true, err
				}
			}
		}
		return true, nil
	}
}

// killInside kills paictl later and later within the steps that hand
// something over, so that in the end every part of them was cut.
func killInside() func(context.Context, *Cluster, *Attempt, int) (bool, error) {
	const every = 400 * time.Millisecond
	after := map[string]time.Duration{}
	return func(_ context.Context, c *Cluster, a *Attempt, _ int) (bool, error) {
		for {
			id, ok := a.started("cluster/etcd", "cluster/apiserver", "/kubelet", "cluster/dns", "cluster/record", "/jobset", "/kueue", "/rest-server")
			if !ok {
				return false, nil
			}
			if after[id] > 5*time.Second {
				continue // cut often enough; it must end some time
			}
			after[id] += every
			if !a.within(after[id]) {
				return false, nil
			}
			a.Kill()
			c.logf("  killed %s within %s", after[id], id)
			return true, nil
		}
	}
}

// between is a random time.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

func killAtRandom(random *rand.Rand) func(context.Context, *Cluster, *Attempt, int) (bool, error) {
	return func(_ context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
		after := between(random, time.Second, 20*time.Second)
		if n >= 5 || !a.within(after) {
			return false, nil
		}
		a.Kill()
		c.logf("  killed after %s", after)
		return true, nil
	}
}

func interrupt(random *rand.Rand, times int) func(context.Context, *Cluster, *Attempt, int) (bool, error) {
	return func(_ context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
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
	}
}

// cutSSH ends the machine's ssh connections again and again.
func cutSSH(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
	for a.within(5 * time.Second) {
		if err := c.cutSSH(ctx); err != nil {
			return false, err
		}
		c.logf("  all ssh connections cut")
	}
	return n < 3, nil
}

// cutSSH ends the machine's ssh connections, and leaves the listener alone.
func (c *Cluster) cutSSH(ctx context.Context) error {
	_, err := c.inside(ctx, "pai-1", `pgrep -x sshd | while read -r p; do [ "$p" = "$(systemctl show -p MainPID --value ssh)" ] || kill -9 "$p" || :; done`)
	return err
}

func (c *Cluster) killAPIServers(ctx context.Context) error {
	_, err := c.inside(ctx, "pai-1", "pkill -9 -x kube-apiserver || :")
	return err
}

// silenceSSH drops the packets of ssh, first for a time that connections
// outlive, then for one in which the lock expires.
func silenceSSH(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
	for _, silence := range []struct {
		step string
		last time.Duration
	}{{"cluster/etcd", 10 * time.Second}, {"machine/pai-1/kubelet", 10 * time.Second}, {"/jobset", 60 * time.Second}} {
		if _, ok := a.started(silence.step); !ok {
			return n == 0, nil
		}
		a.within(500 * time.Millisecond)
		_, err := c.inside(ctx, "pai-1", "nft add table inet chaos; nft add chain inet chaos in '{ type filter hook input priority -300; }'; nft add rule inet chaos in tcp dport 22 drop")
		if err != nil {
			return false, err
		}
		c.logf("  ssh is silent for %s", silence.last)
		a.within(silence.last)
		if _, err := c.inside(context.WithoutCancel(ctx), "pai-1", "nft delete table inet chaos"); err != nil {
			return false, err
		}
	}
	return false, nil
}

const smallDisk = "/run/chaos-disk"

// makeSmallDisk gives the folders that PAI writes to a disk of their own.
func makeSmallDisk(ctx context.Context, c *Cluster) error {
	_, err := c.inside(ctx, "pai-1", fmt.Sprintf(`
mkdir -p %[1]s
mount -t tmpfs -o size=3g,mode=0755 tmpfs %[1]s
for d in /opt/pai /var/lib/pai /var/lib/etcd; do
    mkdir -p "%[1]s$d" "$d"
    mount --bind "%[1]s$d" "$d"
done
chmod 0700 %[1]s/var/lib/pai %[1]s/var/lib/etcd`, smallDisk))
	return err
}

// fillDisk fills that disk when a step begins, until paictl has ended.
func fillDisk(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
	steps := []string{"/programs", "cluster/snapshot", "cluster/etcd", "cluster/apiserver", "machine/pai-1/kubelet", "/kueue"}
	if n >= len(steps) {
		return false, nil
	}
	if _, ok := a.started(steps[n]); !ok {
		return true, nil
	}
	// What is left to the last byte, again and again: others give some back.
	fill := "head -c 4G /dev/zero >> " + smallDisk + "/full 2>/dev/null || :"
	c.logf("  the disk is full at the start of %s", steps[n])
	for {
		if _, err := c.inside(ctx, "pai-1", fill); err != nil {
			return false, err
		}
		if !a.within(time.Second) {
			break
		}
	}
	_, err := c.inside(context.WithoutCancel(ctx), "pai-1", "rm -f "+smallDisk+"/full")
	return true, err
}

// killAPIServer kills the API servers every ten seconds while paictl runs.
func killAPIServer(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
	for a.within(10 * time.Second) {
		if err := c.killAPIServers(ctx); err != nil {
			return false, err
		}
		c.logf("  API servers killed")
	}
	return n < 3, nil
}

// stopAPIServer lets API servers and etcd stand still for a while.
func stopAPIServer(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
	for _, step := range []string{"cluster/etcd", "cluster/apiserver", "machine/pai-1/kubelet", "/kueue"} {
		if _, ok := a.started(step); !ok {
			return n < 2, nil
		}
		a.within(time.Second)
		if _, err := c.inside(ctx, "pai-1", "pkill -STOP -x kube-apiserver || :; pkill -STOP -x etcd || :"); err != nil {
			return false, err
		}
		c.logf("  API server and etcd stand still in %s", step)
		a.within(8 * time.Second)
		if _, err := c.inside(context.WithoutCancel(ctx), "pai-1", "pkill -CONT -x kube-apiserver || :; pkill -CONT -x etcd || :"); err != nil {
			return false, err
		}
	}
	return false, nil
}

// cleanInHandOver cuts the hand-over of etcd, takes Kubernetes off the machine
// and boots it again. What was written before must be there.
func cleanInHandOver(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
	if n > 0 {
		return false, nil
	}
	if _, err := c.kubectl(ctx, "create configmap -n default written-before --from-literal=a=b"); err != nil {
		return false, err
	}
	if _, ok := a.started("cluster/etcd"); !ok || !a.within(5*time.Second) {
		return false, fmt.Errorf("etcd was handed over too quickly")
	}
	a.Kill()
	data, err := c.inside(ctx, "pai-1", "ls -d /var/lib/etcd/*/member")
	if err != nil {
		return false, err
	}
	c.logf("  killed while etcd has data in %q", strings.Fields(data))
	for _, command := range []string{"k8s-clean", "k8s-bootup"} {
		if _, err := c.Run(ctx, 8*time.Minute, "cluster", command, "--yes"); err != nil {
			return false, err
		}
	}
	_, err = c.kubectl(ctx, "get configmap -n default written-before")
	return false, err
}

// reboot restarts a machine a moment after each of some steps has begun.
func reboot(machine string, steps ...string) func(context.Context, *Cluster, *Attempt, int) (bool, error) {
	done := map[string]bool{}
	return func(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
		for {
			var left []string
			for _, s := range steps {
				if !done[s] {
					left = append(left, s)
				}
			}
			if len(left) == 0 || n > 8 {
				return false, nil
			}
			id, ok := a.started(left...)
			if !ok {
				return true, nil
			}
			for _, s := range steps {
				if len(id) >= len(s) && id[len(id)-len(s):] == s {
					done[s] = true
				}
			}
			a.within(1500 * time.Millisecond)
			c.logf("  rebooting %s in %s", machine, id)
			if _, err := c.Run(ctx, 4*time.Minute, "machine", "restart", machine); err != nil {
				return false, err
			}
		}
	}
}
