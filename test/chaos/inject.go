package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// cutSSH ends the machine's ssh connections a moment after each of some steps
// has started. Cut again and again they would never get past copying programs.
func cutSSH() Inject {
	return inSteps([]string{"/programs", "cluster/etcd", "cluster/apiserver", "machine/pai-1/kubelet", "/kueue", "/rest-server"},
		func(ctx context.Context, c *Cluster, a *Attempt, step string) error {
			a.within(time.Second)
			c.logf("  all ssh connections cut in %s", step)
			return c.cutSSH(ctx)
		})()
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
func silenceSSH() Inject {
	return inSteps([]string{"cluster/etcd", "machine/pai-1/kubelet", "/jobset"}, func(ctx context.Context, c *Cluster, a *Attempt, step string) error {
		silence := 10 * time.Second
		if strings.HasSuffix(step, "/jobset") {
			silence = time.Minute
		}
		a.within(500 * time.Millisecond)
		_, err := c.inside(ctx, "pai-1", "nft add table inet chaos; nft add chain inet chaos in '{ type filter hook input priority -300; }'; nft add rule inet chaos in tcp dport 22 drop")
		if err != nil {
			return err
		}
		c.logf("  ssh is silent for %s, in %s", silence, step)
		a.within(silence)
		return c.undo(ctx, "nft delete table inet chaos")
	})()
}

const smallDisk = "/run/chaos-disk"

// makeSmallDisk puts the directories that PAI writes to on a separate disk.
func makeSmallDisk(ctx context.Context, c *Cluster) error {
	_, err := c.inside(ctx, "pai-1", fmt.Sprintf(`
mkdir -p %[1]s
mount -t tmpfs -o size=4g,mode=0755 tmpfs %[1]s
for d in /opt/pai /var/lib/pai /var/lib/etcd; do
    mkdir -p "%[1]s$d" "$d"
    mount --bind "%[1]s$d" "$d"
done
chmod 0700 %[1]s/var/lib/pai`, smallDisk))
	return err
}

// fillDisk fills that disk when a step begins, until paictl has ended.
func fillDisk() Inject {
	return inSteps([]string{"/programs", "cluster/snapshot", "cluster/etcd", "cluster/apiserver", "machine/pai-1/kubelet", "/kueue"},
		func(ctx context.Context, c *Cluster, a *Attempt, step string) error {
			// What is left to the last byte, again and again: others free some.
			fill := "head -c 4G /dev/zero >> " + smallDisk + "/full 2>/dev/null || :"
			c.logf("  the disk is full at the start of %s", step)
			for {
				if _, err := c.inside(ctx, "pai-1", fill); err != nil {
					return err
				}
				if !a.within(time.Second) {
					break
				}
			}
			return c.undo(ctx, "rm -f "+smallDisk+"/full")
		})()
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
func stopAPIServer() Inject {
	return inSteps([]string{"cluster/etcd", "cluster/apiserver", "machine/pai-1/kubelet", "/kueue"}, func(ctx context.Context, c *Cluster, a *Attempt, step string) error {
		a.within(time.Second)
		if _, err := c.inside(ctx, "pai-1", freeze); err != nil {
			return err
		}
		c.logf("  API server and etcd stand still in %s", step)
		a.within(8 * time.Second)
		return c.undo(ctx, thaw)
	})()
}

const (
	freeze = "pkill -STOP -x kube-apiserver || :; pkill -STOP -x etcd || :"
	thaw   = "pkill -CONT -x kube-apiserver || :; pkill -CONT -x etcd || :"
)

// killUnobserved kills paictl within some steps, and lets API servers and etcd
// stand still until the next command has planned without them and has started.
func killUnobserved() Inject {
	left := []string{"cluster/apiserver", "machine/pai-1/kubelet", "/kueue"}
	unobserved := false
	return func(ctx context.Context, c *Cluster, a *Attempt, _ int) (bool, error) {
		if unobserved {
			id, began := a.started()
			if began {
				a.within(5 * time.Second)
			}
			c.logf("  the API is back, in %q", id)
			if err := c.undo(ctx, thaw); err != nil {
				return false, err
			}
			unobserved = false
			if !began {
				return true, nil
			}
		}
		if len(left) == 0 {
			return false, nil
		}
		id, ok := a.started(left...)
		if !ok {
			return true, nil
		}
		left = slices.DeleteFunc(left, func(s string) bool { return strings.HasSuffix(id, s) })
		a.within(time.Second)
		a.Kill()
		unobserved = true
		c.logf("  killed within %s, and the API stands still", id)
		_, err := c.inside(ctx, "pai-1", freeze)
		return true, err
	}
}

// cleanInHandover cuts the handover of etcd, takes Kubernetes off the machine
// and boots it again. What was written before must be there.
func cleanInHandover(ctx context.Context, c *Cluster, a *Attempt, n int) (bool, error) {
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

// reboot restarts a machine a moment after each of some steps has started.
func reboot(machine string, steps ...string) func() Inject {
	return inSteps(steps, func(ctx context.Context, c *Cluster, a *Attempt, step string) error {
		a.within(1500 * time.Millisecond)
		c.logf("  rebooting %s in %s", machine, step)
		_, err := c.Run(ctx, 4*time.Minute, "machine", "restart", machine)
		return err
	})
}
