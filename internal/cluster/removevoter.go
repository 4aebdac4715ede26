package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// voterRemover removes the member of etcd of a machine that is lost and has left the layout. etcd
// takes no other member while a voter is dead.
type voterRemover struct{ *cluster }

func (c voterRemover) Done(ctx context.Context, s plan.Step) (bool, error) {
	e, err := c.membersFor(ctx, s.Target)
	if err != nil {
		return false, err
	}
	defer e.close()
	return len(e.members.OfLost(s.Target, c.Config.ControlPlanes())) == 0, nil
}

// Do asks once more whether the machine is dead: one that runs and is removed could take requests
// that no one else sees.
func (c voterRemover) Do(ctx context.Context, s plan.Step) error {
	e, err := c.membersFor(ctx, s.Target)
	if err != nil {
		return err
	}
	defer e.close()
	lost := e.members.OfLost(s.Target, c.Config.ControlPlanes())
	if err := RefuseAlive(ctx, c.Config, c.Hosts, s.Target, lost.Addresses()); err != nil {
		return err
	}
	if slices.ContainsFunc(lost, func(one etcd.Member) bool { return !one.Learner }) {
		if err := c.etcds.Survey(ctx, c.Config.ControlPlanes(), c.Hosts).CanRemove(s.Target); err != nil {
			return err
		}
	}
	return e.client.RemoveLost(ctx, e.via, s.Target, c.Config.ControlPlanes())
}

// membersFor lists the members through a machine that serves.
func (c *cluster) membersFor(ctx context.Context, lost string) (elsewhere, error) {
	e := c.etcdElsewhere(ctx, config.Machine{Hostname: lost})
	if e.members == nil {
		e.unknown = append(e.unknown, "no etcd lists them, so there is no quorum, or none runs")
		return e, fmt.Errorf("list the members of etcd without %s: %s", lost, strings.Join(e.unknown, "; "))
	}
	return e, nil
}

// reachTimeout limits one connection to a machine that is probably dead.
const reachTimeout = 5 * time.Second

// RefuseAlive returns an error if a control-plane machine reaches something of a machine that is to
// be replaced: its sshd, its kubelet, or its etcd. A refused connection is an answer of a machine that
// runs. If no control-plane machine connects even to itself, none can observe it. addresses are those
// of the machine.
func RefuseAlive(ctx context.Context, cfg *config.Config, hosts map[string]machine.Host, name string, addresses []string) error {
	ports := []int{config.DefaultSSHPort, layout.KubeletPort}
	for _, s := range layout.Slots() {
		ports = append(ports, s.EtcdPeerPort)
	}
	for _, m := range cfg.Layout.MachineList {
		if !slices.Contains(ports, m.SSHPort) && m.SSHPort > 0 {
			ports = append(ports, m.SSHPort)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var reached, failed []string
	observed := false
	for _, m := range cfg.ControlPlanes() {
		h := hosts[m.Hostname]
		if h == nil || slices.Contains(addresses, m.HostIP) {
			continue
		}
		wg.Go(func() {
			err := connect(ctx, h, m.HostIP, layout.KubeletPort)
			mu.Lock()
			defer mu.Unlock()
			if observed = observed || err == nil; err != nil {
				failed = append(failed, fmt.Sprintf("%s: %v", m.Hostname, err))
			}
		})
		for _, address := range addresses {
			for _, port := range ports {
				wg.Go(func() {
					err := connect(ctx, h, address, port)
					if err != nil && !isRefused(err) {
						return
					}
					how := "connects to"
					if err != nil {
						how = "is refused by"
					}
					mu.Lock()
					defer mu.Unlock()
					reached = append(reached, fmt.Sprintf("%s %s %s:%d", m.Hostname, how, address, port))
				})
			}
		}
	}
	wg.Wait()
	slices.Sort(reached)
	switch {
	case len(reached) > 0:
		return pai.Errorf(pai.CodeRefused, fmt.Sprintf("if %[1]s works, put it into maintenance; run: paictl machine maintain %[1]s\nto replace it, shut it down first, and run the command again", name),
			"%s is not dead: %s", name, strings.Join(reached, "; "))
	case !observed:
		slices.Sort(failed)
		return pai.Errorf(pai.CodeRefused, "repair them, and run the command again; for their state, run: paictl cluster status",
			"unknown whether %s is dead: no control-plane machine connects to its own kubelet: %s", name, strings.Join(failed, "; "))
	}
	return nil
}

// connect makes a connection from a machine, and ends it.
func connect(ctx context.Context, from machine.Host, address string, port int) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// isRefused reports whether a host answered that nothing listens there. Through ssh, only the text
// of the error is left.
func isRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(strings.ToLower(err.Error()), "connection refused")
}
