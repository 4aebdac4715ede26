package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const (
	// expectLimit is how many machines are asked in parallel.
	expectLimit = 16
	// expectTimeout limits the questions to one machine.
	expectTimeout = time.Minute
)

// Expectation is what Expect computed.
type Expectation struct {
	Manifests plan.Manifests
	// Unknown has the workers that could not be asked, with the reason.
	Unknown map[string]error
}

// Expect computes what the reachable machines have if they run a Kubernetes
// version as its release says, and the digests of the cluster's own objects. It
// adds to what expected has of other versions. It renders only what can decide
// something: a role that runs other programs is moved whatever its settings are.
// d.Bundle is nil if this host does not have the bundle. d.Kubeadm is set if its
// programs are not on all machines; see Installed. A worker that cannot be asked is
// unknown, so that it does not keep others from being compared.
func Expect(ctx context.Context, d Deps, w plan.World, v pai.KubernetesVersion, expected map[string]plan.Expected) (Expectation, error) {
	c := &cluster{Deps: d}
	result := Expectation{Unknown: map[string]error{}}
	programs := map[string]string{}
	if d.Bundle != nil {
		var err error
		if programs, err = d.Bundle.ProgramDigests(ctx); err != nil {
			return result, err
		}
	}
	prepared, err := preparedDigest(c.Config) // names every machine, so it is not made for each
	if err != nil {
		return result, err
	}
	var mu sync.Mutex
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(expectLimit)
	for _, m := range w.Machines {
		h, of, err := c.target(plan.Step{Target: m.Name})
		if m.Unreachable != "" || err != nil {
			continue
		}
		group.Go(func() error {
			mu.Lock()
			e := expected[m.Name]
			mu.Unlock()
			e.Prepared = prepared
			one, cancel := context.WithTimeoutCause(limited, expectTimeout, fmt.Errorf("no answer within %s", expectTimeout))
			defer cancel()
			e, err := c.expectMachine(one, h, of, m, v, programs, e)
			if err != nil {
				err = fmt.Errorf("compare machine %s with Kubernetes %s: %w", m.Name, v, err)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				expected[m.Name] = e
			case m.ControlPlane || limited.Err() != nil:
				return err
			default:
				result.Unknown[m.Name] = err
			}
			return nil
		})
	}
	err = group.Wait()
	if err == nil && len(result.Unknown) == 0 {
		result.Manifests, err = c.expectManifests(ctx, w, v, expected)
	}
	return result, err
}

// Installed reports whether the reachable machines have the programs of a bundle,
// so that they can be asked how its roles are started.
func Installed(ctx context.Context, d Deps, w plan.World, v pai.KubernetesVersion) (bool, error) {
	programs, err := d.Bundle.ProgramDigests(ctx)
	if err != nil {
		return false, err
	}
	c := &cluster{Deps: d}
	for _, m := range w.Machines {
		_, of, err := c.target(plan.Step{Target: m.Name})
		if m.Unreachable != "" || err != nil {
			continue
		}
		e := plan.Expected{Versions: map[pai.KubernetesVersion]plan.ExpectedVersion{v.Label(): versionOn(of, programs)}}
		if !slices.Contains(m.Programs, m.Directory(v, e)) {
			return false, nil
		}
	}
	return true, nil
}

// versionOn is what a machine gets of a version, without its roles.
func versionOn(m config.Machine, programs map[string]string) plan.ExpectedVersion {
	return plan.ExpectedVersion{Build: fingerprint.Directory(programs), Programs: fingerprint.Directory(programsOf(m, programs)), Roles: map[plan.Role]plan.Digests{}}
}

func (c *cluster) expectMachine(ctx context.Context, h machine.Host, of config.Machine, m plan.MachineState, v pai.KubernetesVersion,
	programs map[string]string, e plan.Expected) (plan.Expected, error) {
	e.Versions = maps.Clone(e.Versions)
	if e.Versions == nil {
		e.Versions = map[pai.KubernetesVersion]plan.ExpectedVersion{}
	}
	version := versionOn(of, programs)
	e.Versions[v.Label()] = version
	dir := m.Directory(v, e)
	var err error
	for r, state := range m.Roles {
		if state.Running == "" || v.Less(state.Running) {
			continue
		}
		want := plan.Digests{Programs: fingerprint.Programs(r, programs)}
		if want.Programs == state.Programs || (want.Programs == "" && v.Compare(state.Running) == 0) {
			if want.Settings, err = c.nextSettings(ctx, h, of, dir, r, false); err != nil {
				return e, err
			}
		}
		version.Roles[r] = want
		if r == plan.RoleKubelet {
			if version.Reserves, err = c.waitingReservations(ctx, h, of, dir); err != nil {
				return e, err
			}
		}
	}
	e.Versions[v.Label()] = version
	return e, nil
}

// expectManifests are the digests of the cluster's own objects, where a cluster
// of the version exists.
func (c *cluster) expectManifests(ctx context.Context, w plan.World, v pai.KubernetesVersion, expected map[string]plan.Expected) (m plan.Manifests, err error) {
	if !w.APIReachable || w.Current.Kubernetes.Compare(v) != 0 {
		return m, nil
	}
	h, of, err := c.controlPlane()
	if err != nil {
		return m, nil // unreachable: unknown
	}
	for _, state := range w.Machines {
		if state.Unreachable != "" {
			return m, nil // whether it has a resolver is unknown
		}
		if state.Name == of.Hostname {
			v = state.Directory(v, expected[state.Name])
		}
	}
	if m.Bootstrap, err = c.bootstrapDigest(ctx, h, of, v); err != nil {
		return m, err
	}
	m.DNS, err = c.dnsDigest(ctx, h, v)
	return m, err
}

// programsOf are the programs that a machine gets.
func programsOf(m config.Machine, all map[string]string) map[string]string {
	own := maps.Clone(all)
	if !m.IsControlPlane() {
		maps.DeleteFunc(own, func(path, _ string) bool { return controlPlanePrograms[path] })
	}
	return own
}

// preparedDigest is the digest of what every machine is prepared with.
func preparedDigest(cfg *config.Config) (string, error) {
	files, err := preparedFiles(cfg)
	if err != nil {
		return "", err
	}
	digests := map[string]string{}
	for path, f := range files {
		digests[path] = fingerprint.Of([]byte(f.content))
	}
	var hosts strings.Builder
	for _, line := range hostLines(cfg) {
		hosts.WriteString(line + " " + layout.HostsMark + "\n")
	}
	digests[layout.HostsFile] = fingerprint.Of([]byte(hosts.String()))
	return fingerprint.Directory(digests), nil
}
