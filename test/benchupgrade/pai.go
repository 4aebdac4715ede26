package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/chaos"
)

// pai measures PAI: first Kubernetes alone, which is what kubeadm is compared
// with and, as there, with everything in place; then the services, then a
// command that has nothing to do. What it takes to bring programs and images to
// the machine is a separate figure.
func (b *bench) pai(ctx context.Context) error {
	c := b.cluster
	if err := c.Up(ctx, 1, "", nil); err != nil {
		return err
	}
	defer func() { _ = c.Down(ctx) }() // what is left, the next run takes down
	cfg, err := adminConfig(ctx, c)
	if err != nil {
		return err
	}
	start := time.Now()
	if _, err := c.Run(ctx, 10*time.Minute, "upgrade", "stage", "--to", chaos.To, "--kubernetes", "--yes"); err != nil {
		return err
	}
	b.row("PAI, programs and images brought (upgrade stage)", "%.1f s", time.Since(start).Seconds())
	err = b.sampled(ctx, "PAI, Kubernetes v1.36.3 to v1.37.2 with everything in place", cfg, func() error {
		_, err := c.Run(ctx, 10*time.Minute, "upgrade", "apply", "--to", chaos.To, "--kubernetes", "--yes")
		return err
	})
	if err != nil {
		return err
	}
	if err := b.longestSteps(ctx); err != nil {
		return err
	}
	if err := b.services(ctx); err != nil {
		return err
	}
	start = time.Now()
	if _, err := c.Run(ctx, 5*time.Minute, "upgrade", "apply", "--to", chaos.To, "--yes"); err != nil {
		return err
	}
	b.row("PAI, an upgrade with nothing to do", "%.2f s", time.Since(start).Seconds())
	return nil
}

// lastOperation is the newest operation of the cluster.
func (b *bench) lastOperation(ctx context.Context) (pai.Operation, error) {
	out, err := b.cluster.Run(ctx, time.Minute, "upgrade", "history", "-o", "json")
	if err != nil {
		return pai.Operation{}, err
	}
	var operations []pai.Operation
	if err := json.Unmarshal([]byte(out), &operations); err != nil {
		return pai.Operation{}, err
	}
	if len(operations) == 0 {
		return pai.Operation{}, errors.New("the history is empty")
	}
	return operations[len(operations)-1], nil
}

// longestSteps says where the time of the last operation went.
func (b *bench) longestSteps(ctx context.Context) error {
	last, err := b.lastOperation(ctx)
	if err != nil {
		return err
	}
	gap, err := startGap(last)
	if err != nil {
		return err
	}
	b.row("PAI, Kubernetes with a new container runtime: no new container could start for at most", "%s", gap)
	b.row("PAI, Kubernetes: the longest steps", "%s", longest(last))
	return nil
}

// longest lists the five steps of an operation that took the longest.
func longest(op pai.Operation) string {
	steps := slices.SortedStableFunc(slices.Values(op.Steps), func(a, b pai.StepRecord) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return secondsOf(steps[:min(len(steps), 5)])
}

// secondsOf lists steps with their times.
func secondsOf(steps []pai.StepRecord) string {
	var texts []string
	for _, s := range steps {
		texts = append(texts, fmt.Sprintf("%s %.1f s", path.Base(s.ID), s.Seconds))
	}
	return strings.Join(texts, ", ")
}

// startGap says for how long at most no new container could start on each machine of an
// operation that replaced the container runtime, as its record has it.
func startGap(op pai.Operation) (string, error) {
	replaced := slices.ContainsFunc(op.Steps, func(s pai.StepRecord) bool { return path.Base(s.ID) == "containerd" })
	if !replaced || len(op.StartSeconds) == 0 {
		return "", fmt.Errorf("operation %s has no record of how long new containers could not start while the container runtime was replaced", op.ID)
	}
	var texts []string
	for _, machine := range slices.Sorted(maps.Keys(op.StartSeconds)) {
		texts = append(texts, fmt.Sprintf("%s %.1f s", machine, op.StartSeconds[machine]))
	}
	return strings.Join(texts, ", "), nil
}

var changed = regexp.MustCompile(`(\d+) created, (\d+) configured, \d+ unchanged, (\d+) deleted|deleted (\d+) objects of the previous release`)

// services counts what an upgrade of the services asks of the API.
func (b *bench) services(ctx context.Context) error {
	stop, err := b.cluster.CountRequests(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.cluster.Paictl, "upgrade", "apply", "--to", chaos.To, "--yes")
	cmd.Dir = b.cluster.Source
	cmd.Env = append(os.Environ(), "PAI_STATE_DIR="+b.cluster.State)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	runErr := cmd.Run()
	took := time.Since(start)
	asked, err := stop()
	if runErr != nil {
		return fmt.Errorf("upgrade the services: %w\n%s", runErr, stderr.String())
	}
	if err != nil {
		return err
	}
	objects := 0
	for _, m := range changed.FindAllStringSubmatch(stderr.String(), -1) {
		for _, n := range m[1:] {
			if i, err := strconv.Atoi(n); err == nil {
				objects += i
			}
		}
	}
	if objects == 0 {
		return fmt.Errorf("the upgrade of the services changed nothing:\n%s", stderr.String())
	}
	b.row("PAI, services "+chaos.From+" to "+chaos.To+": wall time", "%.1f s", took.Seconds())
	total := map[string]int{}
	for r, n := range asked {
		total[r.Who] += n
	}
	b.row("PAI, services "+chaos.From+" to "+chaos.To+": API requests of paictl", "%d for %d objects changed: %.1f for each (the witness asked %d times besides)",
		total["paictl"], objects, float64(total["paictl"])/float64(objects), total["pai-witness"])
	b.row("PAI, services: the most frequent requests of paictl", "%s", mostFrequent(asked, "paictl"))
	last, err := b.lastOperation(ctx)
	if err != nil {
		return err
	}
	b.row("PAI, services: the longest steps", "%s", longest(last))
	return nil
}

// mostFrequent lists the 25 most frequent kinds of requests of a client.
func mostFrequent(asked map[chaos.Request]int, who string) string {
	var kinds []chaos.Request
	for r := range asked {
		if r.Who == who {
			kinds = append(kinds, r)
		}
	}
	slices.SortFunc(kinds, func(a, b chaos.Request) int {
		return cmp.Or(cmp.Compare(asked[b], asked[a]), cmp.Compare(a.What, b.What))
	})
	var listed []string
	for _, r := range kinds[:min(len(kinds), 25)] {
		listed = append(listed, fmt.Sprintf("%d %s", asked[r], r.What))
	}
	return strings.Join(listed, ", ")
}

// adminConfig is the administrator's access to the API from this host.
func adminConfig(ctx context.Context, c *chaos.Cluster) (*rest.Config, error) {
	data, err := c.Run(ctx, time.Minute, "machine", "shell", "pai-1", "--", "cat /etc/kubernetes/admin.conf")
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig([]byte(data))
	if err != nil {
		return nil, err
	}
	address, err := c.Address(ctx, "pai-1")
	cfg.Host = "https://" + address + ":6443"
	return cfg, err
}
