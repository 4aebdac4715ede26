package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

func bundleChecks() []Check {
	return []Check{
		{"bundle", "the bundles are complete and signed by a trusted key", always, bundles},
		{"content", "programs and images that the machines already have", 0, content},
	}
}

// releases returns the releases whose bundles the operation uses: the target, and
// those of the hops before it.
func (w *world) releases() []pai.Release {
	names := []pai.Release{w.Target.Metadata.Name}
	for _, s := range w.Plan.Steps {
		if !s.Kind.Traits().NeedsBundle {
			continue
		}
		if name, err := s.BundleRelease(w.Releases); err == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// bundles: opening a bundle verifies the signature, the index, and all small
// blobs. The step that reads a large blob verifies it.
func bundles(_ context.Context, w *world) ([]Result, error) {
	var all []Result
	for _, name := range w.releases() {
		b, err := w.Bundle(name)
		if err == nil {
			err = b.Complete()
		}
		if err != nil {
			all = append(all, failed(string(name), cmp.Or(hintOf(err), "copy the bundle again, or build it; run: paictl release build "+string(name)), "%v", err))
			continue
		}
		all = append(all, okay(string(name), "complete, signed by %s", b.Signer()))
	}
	return all, nil
}

// content returns what is still to be copied, which blocks nothing.
func content(_ context.Context, w *world) ([]Result, error) {
	b, err := w.Bundle(w.Target.Metadata.Name)
	if err != nil {
		return nil, err
	}
	programs, images := sizes(b.Contents())
	var all []Result
	for _, m := range w.World.Machines {
		if m.Unreachable == "" {
			all = append(all, contentOf(m, w.Target, b.Digest(), programs, images))
		}
	}
	return all, nil
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
		return okay(m.Name, "the content of release %s is complete", to.Metadata.Name)
	}
	return okay(m.Name, "still to copy: %s", strings.Join(missing, ", "))
}

func sizes(entries []release.Entry) (programs, images int64) {
	for _, e := range entries {
		switch e.Kind {
		case release.KindProgram:
			programs += e.Size
		case release.KindImage:
			images += e.Size
		case release.KindRelease, release.KindServices: // a few kilobytes
		}
	}
	return programs, images
}

const (
	// unpackFactor is how much larger unpacked programs and images can be.
	unpackFactor = 4
	// defaultEtcdSize is the assumed size of etcd if it is unknown.
	defaultEtcdSize = 512 << 20
)

// spaceNeeds returns what the operation writes into each directory of a machine:
// missing programs and images, and what a handover of etcd stores twice.
func (w *world) spaceNeeds(ctx context.Context, m observedMachine) (map[string]int64, error) {
	b, err := w.Bundle(w.Target.Metadata.Name)
	if err != nil {
		return nil, err
	}
	programs, images := sizes(b.Contents())
	needs := map[string]int64{}
	if !slices.Contains(m.state.Programs, w.Target.Kubernetes.Version) {
		needs[layout.ProgramsDir] = unpackFactor * programs
	}
	if !slices.Contains(m.state.Images, b.Digest()) {
		needs[layout.ContainerdDir] = (1 + unpackFactor) * images // packed and unpacked
	}
	if _, runs := etcdRole(m.state); m.IsControlPlane() && runs {
		data := int64(defaultEtcdSize)
		if status, err := w.api.etcd.get(ctx); err == nil { // the check etcd reports the error
			data = status.Size
		}
		needs[layout.SnapshotsDir] = 2 * data // the snapshot, and a restored copy that verifies it
		needs[layout.EtcdDir] = data          // the data of the second member
	}
	return needs, nil
}
