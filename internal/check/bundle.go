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
		{"content", "programs and images that the machines already have", standaloneOnly, content},
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

// spaceNeeds returns what steps write into each directory of a machine: programs and
// images, snapshots of etcd, and what a handover of etcd stores twice. etcdSize returns
// how much etcd stores, in bytes; content, the sizes in the bundle of a step.
func spaceNeeds(steps []plan.Step, etcdSize func() int64, content func(plan.Step) (programs, images int64, err error)) (map[string]int64, error) {
	needs := map[string]int64{}
	for _, s := range steps {
		switch s.Kind {
		case plan.KindPrograms:
			programs, _, err := content(s)
			if err != nil {
				return nil, err
			}
			needs[layout.ProgramsDir] += unpackFactor * programs
		case plan.KindImages:
			_, images, err := content(s)
			if err != nil {
				return nil, err
			}
			needs[layout.ContainerdDir] += (1 + unpackFactor) * images // packed and unpacked
		case plan.KindSnapshot:
			size := etcdSize()
			needs[layout.SnapshotsDir] = max(needs[layout.SnapshotsDir], size) + size // and one restored copy that verifies it
		case plan.KindEtcd, plan.KindRestore:
			needs[layout.EtcdDir] = etcdSize() // one at a time; the member before it is removed
		default: // the other steps write little
		}
	}
	return needs, nil
}

// contentOfStep returns the sizes of what a step takes from a bundle.
func (w *world) contentOfStep(s plan.Step) (programs, images int64, err error) {
	name, err := s.BundleRelease(w.Releases)
	if err != nil {
		return 0, 0, err
	}
	b, err := w.Bundle(name)
	if err != nil {
		return 0, 0, err
	}
	programs, images = sizes(b.Contents())
	return programs, images, nil
}

// etcdSize is how much etcd stores, in bytes. The check etcd reports an error.
func (w *world) etcdSize(ctx context.Context) int64 {
	if status, err := w.api.etcd.get(ctx); err == nil {
		return status.Size
	}
	return defaultEtcdSize
}

// stepsOn are the steps of the plan that change a machine; those of the cluster change
// the control plane. If nothing could be planned, they are the largest of an upgrade to
// the target.
func (w *world) stepsOn(m observedMachine) []plan.Step {
	if w.PlanErr == nil {
		return slices.DeleteFunc(slices.Clone(w.Plan.Steps), func(s plan.Step) bool {
			if s.Kind.Traits().Subject == plan.SubjectMachine {
				return s.Target != m.Hostname
			}
			return !m.IsControlPlane()
		})
	}
	var steps []plan.Step
	if !slices.Contains(m.state.Programs, w.Target.Kubernetes.Version) {
		steps = append(steps, plan.Step{Kind: plan.KindPrograms, To: pai.AnyVersion(w.Target.Kubernetes.Version)})
	}
	if b, err := w.Bundle(w.Target.Metadata.Name); err != nil || !slices.Contains(m.state.Images, b.Digest()) {
		steps = append(steps, plan.Step{Kind: plan.KindImages, To: pai.AnyVersion(w.Target.Metadata.Name)})
	}
	if _, runs := etcdRole(m.state); m.IsControlPlane() && runs {
		steps = append(steps, plan.Step{Kind: plan.KindSnapshot}, plan.Step{Kind: plan.KindEtcd})
	}
	return steps
}

// startsControlPlane reports whether an API server or a member of etcd starts on a
// machine, beside the ones that run there.
func (w *world) startsControlPlane(m observedMachine) bool {
	return slices.ContainsFunc(w.stepsOn(m), func(s plan.Step) bool {
		return s.Kind == plan.KindEtcd || s.Kind == plan.KindRestore || s.Kind == plan.KindRecover || s.StartsAPIServer()
	})
}
