package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// releases names those whose bundles the operation takes from: the target's,
// and those of the hops on the way.
func (w *world) releases() []pai.Release {
	names := []pai.Release{w.Target.Metadata.Name}
	add := func(v pai.Release) {
		if !slices.Contains(names, v) {
			names = append(names, v)
		}
	}
	for _, s := range w.Plan.Steps {
		if !s.Kind.Traits().NeedsBundle {
			continue
		}
		if name, err := s.BundleRelease(w.Releases); err == nil {
			add(name)
		}
	}
	return names
}

// bundles: opening one verifies the signature, the index and all small parts;
// the large parts are verified by the step that reads them.
func bundles(_ context.Context, w *world) []Result {
	var all []Result
	for _, name := range w.releases() {
		b, err := w.Bundle(name)
		if err == nil {
			err = b.Complete()
		}
		if err != nil {
			fix := nextOf(err)
			if fix == "" {
				fix = "build it, or get it again: paictl release build " + string(name)
			}
			all = append(all, failed(string(name), fix, "%v", err))
			continue
		}
		all = append(all, okay(string(name), "complete, signed by %s", b.Signer()))
	}
	return all
}

// content says what still has to be copied, which is in nobody's way.
func content(_ context.Context, w *world) []Result {
	b, err := w.Bundle(w.Target.Metadata.Name)
	if err != nil {
		return []Result{unknown("", err)}
	}
	programs, images := sizes(b.Contents())
	var all []Result
	for _, m := range w.World.Machines {
		if m.Unreachable == "" {
			all = append(all, contentOf(m, w.Target, b.Digest(), programs, images))
		}
	}
	return all
}

func contentOf(m plan.MachineState, to release.Manifest, digest string, programs, images int64) Result {
	var missing []string
	if !slices.Contains(m.Programs, to.Kubernetes.Version) {
		missing = append(missing, fmt.Sprintf("programs of Kubernetes %s (up to %s)", to.Kubernetes.Version, size(programs)))
	}
	if !slices.Contains(m.Images, digest) {
		missing = append(missing, fmt.Sprintf("images of release %s (%s)", to.Metadata.Name, size(images)))
	}
	if len(missing) == 0 {
		return okay(m.Name, "everything of release %s is there", to.Metadata.Name)
	}
	return okay(m.Name, "still to be copied: %s", strings.Join(missing, ", "))
}

func sizes(entries []release.Entry) (programs, images int64) {
	for _, e := range entries {
		switch e.Kind {
		case release.KindProgram:
			programs += e.Size
		case release.KindImage:
			images += e.Size
		}
	}
	return programs, images
}

// unpacks is by how much programs and images may grow when they are unpacked;
// the bundle holds them compressed to a third.
const unpacks = 4

// etcdGuess is how much etcd is taken to hold while it does not say.
const etcdGuess = 512 << 20

// needs is what the operation writes below each folder of a machine: programs
// and images that are not there yet, and what a hand-over of etcd keeps twice.
func (w *world) needs(ctx context.Context, m config.Machine) (map[string]int64, error) {
	b, err := w.Bundle(w.Target.Metadata.Name)
	if err != nil {
		return nil, err
	}
	o := w.observed(m.Hostname)
	programs, images := sizes(b.Contents())
	n := map[string]int64{}
	if !slices.Contains(o.Programs, w.Target.Kubernetes.Version) {
		n[layout.ProgramsDir] = unpacks * programs
	}
	if !slices.Contains(o.Images, b.Digest()) {
		n[layout.ContainerdDir] = (1 + unpacks) * images // as they came, and unpacked
	}
	if _, runs := etcdRole(o); m.IsControlPlane() && runs {
		data := int64(etcdGuess)
		if status, err := w.api.etcd.get(ctx); err == nil { // that it says nothing, the check etcd reports
			data = status.Size
		}
		n[layout.SnapshotsDir] = 2 * data // the snapshot, and what it is restored into to verify it
		n[layout.EtcdDir] = data          // the second member's data
	}
	return n, nil
}
