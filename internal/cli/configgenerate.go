package cli

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
)

// hardwareTimeout bounds how long the query of one machine takes.
const hardwareTimeout = time.Minute

func newConfigGenerateCommand(env *Env) *cobra.Command {
	var (
		dir, answersFile, keyfile string
		a                         config.Answers
	)
	cmd := &cobra.Command{
		Use:   "generate [ADDRESS…] -p DIR",
		Short: "Write a configuration from the hardware of machines",
	}
	cmd.Flags().StringVarP(&dir, "config-path", "p", "", "directory to write to")
	cmd.Flags().StringVar(&answersFile, "answers", "", "answer file")
	cmd.Flags().StringVar(&a.ClusterID, "cluster-id", "", "cluster ID (default: pai)")
	cmd.Flags().StringVar((*string)(&a.Release), "release", "", "release to run (default: the newest)")
	cmd.Flags().StringVar(&a.Username, "user", "", "user to log in as (default: root)")
	cmd.Flags().StringVar(&keyfile, "key", "", "private SSH key (default: the keys of the ssh-agent)")
	cmd.Flags().IntVar(&a.Port, "port", 0, "port of sshd (default: 22)")
	hostKeys := addHostKeyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if dir == "" || len(args) == 0 && answersFile == "" {
			return pai.Errorf(pai.CodeUsage, "for example, run: paictl config generate 10.0.0.1 10.0.0.2 -p lab",
				"the directory (-p DIR) or the machines (their addresses, or --answers FILE) are missing")
		}
		if keyfile != "" {
			if a.KeyfilePath, err = filepath.Abs(keyfile); err != nil {
				return fmt.Errorf("find the key: %w", err)
			}
		}
		a.Machines = args
		if answersFile != "" {
			if err := addAnswers(&a, answersFile); err != nil {
				return err
			}
		}
		return generateConfig(cmd.Context(), env, dir, a, *hostKeys)
	}
	return cmd
}

// addAnswers adds from a file what the command line omits.
func addAnswers(a *config.Answers, file string) error {
	from, err := config.ReadAnswers(file)
	if err != nil {
		return err
	}
	given := *a
	*a = from
	if len(given.Machines) > 0 {
		a.Machines = given.Machines
	}
	a.ClusterID = cmp.Or(given.ClusterID, a.ClusterID)
	a.Release = cmp.Or(given.Release, a.Release)
	a.Username = cmp.Or(given.Username, a.Username)
	a.KeyfilePath = cmp.Or(given.KeyfilePath, a.KeyfilePath)
	a.Port = cmp.Or(given.Port, a.Port)
	return nil
}

// generated is what `config generate -o json` prints.
type generated struct {
	Directory string             `json:"directory"`
	ClusterID string             `json:"clusterId"`
	Release   pai.Release        `json:"release"`
	Machines  []generatedMachine `json:"machines"`
}

type generatedMachine struct {
	Name   string   `json:"name"`
	SKU    string   `json:"sku"`
	Cores  int      `json:"cores"`
	Memory int      `json:"memoryMiB"`
	GPUs   []string `json:"gpus"`
	Disks  []string `json:"disks"`
	OS     string   `json:"os"`
}

// describeFound is what was found of a machine, with its entry in the layout.
func describeFound(m config.Machine, f config.FoundMachine) generatedMachine {
	return generatedMachine{m.Hostname, m.MachineType, f.Cores, f.MemoryMiB, append([]string{}, f.GPUs...), append([]string{}, f.Disks...), f.OS}
}

func generateConfig(ctx context.Context, env *Env, dir string, a config.Answers, hostKeys hostKeyFlags) error {
	row, err := findRelease(string(a.Release))
	if err != nil {
		return err
	}
	if _, err := config.Load(dir); pai.CodeOf(err) != pai.CodeNotFound {
		return pai.Errorf(pai.CodeRefused, "name another directory with -p", "a configuration already exists in %s", dir)
	}
	a.ClusterID = cmp.Or(a.ClusterID, "pai")
	targets, err := a.Targets()
	if err != nil {
		return pai.Errorf(pai.CodeUsage, "pass the IPv4 addresses at which the machines reach each other", "%w", err)
	}
	if err := trustHostKeys(ctx, env, targets, filepath.Join(env.dirs().ClusterDir(a.ClusterID), "known_hosts"), hostKeys); err != nil {
		return err
	}
	found, err := queryMachines(ctx, env, a.ClusterID, targets)
	if err != nil {
		return err
	}
	key, err := release.EnsureKey(release.KeyFile(env.StateDir))
	if err != nil {
		return err
	}
	trusted := release.EncodePublicKey(key.Public().(ed25519.PublicKey))
	cfg := config.Generate(a.ClusterID, pai.Pair{Services: row.Services.Version, Kubernetes: row.Kubernetes.Version}, found, []string{trusted})
	a.Adjust(&cfg)
	cfg.Layout.SchemaVersion = row.Configuration.Schema
	if err := config.Write(dir, cfg); err != nil {
		return err
	}
	result := generated{Directory: dir, ClusterID: a.ClusterID, Release: row.Metadata.Name}
	for i, m := range cfg.Layout.MachineList {
		result.Machines = append(result.Machines, describeFound(m, found[i]))
	}
	return env.Show(result, func(p *ui.Page) {
		for i, m := range cfg.Layout.MachineList {
			p.Linef("%s (%s): %s, %s", m.Hostname, m.HostIP, m.MachineType, found[i].OS)
		}
		p.Linef("Wrote the configuration of cluster %s for release %s to %s. After you review it, run: paictl cluster k8s-bootup -p %s", a.ClusterID, row.Metadata.Name, dir, dir)
	})
}

// queryMachines reads the hardware of all machines in parallel. The error has
// every failed query.
func queryMachines(ctx context.Context, env *Env, clusterID string, targets []config.Machine) ([]config.FoundMachine, error) {
	found, failed, err := queryEach(ctx, env, clusterID, targets)
	if err != nil {
		return nil, err
	}
	switch len(failed) {
	case 0:
		return found, nil
	case 1:
		return nil, failed[0]
	}
	return nil, pai.Errorf(pai.CodeFailed, strings.Join(append(hintsOf(failed), "nothing was written"), "; "), "cannot query %d of %d machines:\n%w", len(failed), len(targets), errors.Join(failed...))
}

// queryEach reads the hardware of all machines in parallel. found has those that answered;
// failed is why the others did not.
func queryEach(ctx context.Context, env *Env, clusterID string, targets []config.Machine) (found []config.FoundMachine, failed []error, err error) {
	clusterDir := env.dirs().ClusterDir(clusterID)
	if err := os.MkdirAll(clusterDir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("create the cluster directory: %w", err)
	}
	all, errs := make([]config.FoundMachine, len(targets)), make([]error, len(targets))
	var wg sync.WaitGroup
	for i, m := range targets {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, hardwareTimeout)
			defer cancel()
			all[i], errs[i] = queryMachine(ctx, env, m, filepath.Join(clusterDir, "known_hosts"))
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			failed = append(failed, err)
		} else {
			found = append(found, all[i])
		}
	}
	return found, failed, nil
}

// hintsOf are what to do about errors, each once.
func hintsOf(errs []error) []string {
	var hints []string
	for _, err := range errs {
		if next := pai.NextOf(err); next != "" && !slices.Contains(hints, next) {
			hints = append(hints, next)
		}
	}
	return hints
}

func queryMachine(ctx context.Context, env *Env, m config.Machine, knownHosts string) (config.FoundMachine, error) {
	host, err := machine.Dial(ctx, session.Endpoint(m.HostIP, m, knownHosts))
	if err != nil {
		return config.FoundMachine{}, err
	}
	defer host.Close()
	report, err := helper.Parts(ctx, host, inspect.HardwareOf)
	if err != nil {
		return config.FoundMachine{}, err
	}
	hw := report.Hardware
	for _, part := range slices.Sorted(maps.Keys(report.Problems)) {
		env.Progressf("machine %s: %s: %s", m.HostIP, part, report.Problems[part])
	}
	f := config.FoundMachine{Machine: m, Hostname: hw.Hostname, Cores: hw.Cores, MemoryMiB: hw.MemoryMiB, GPUs: hw.GPUs, OS: hw.OS}
	for _, d := range hw.Disks {
		f.Disks = append(f.Disks, fmt.Sprintf("%s %d GB", d.Name, d.Bytes/1e9))
	}
	return f, nil
}
