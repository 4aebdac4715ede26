package operation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
)

// diffTimeout bounds how long the comparison of one step can take.
const diffTimeout = time.Minute

// Diff returns what each step of a plan would change: objects as the API server
// answers to a dry run, programs, and files of machines. It changes nothing. A
// step that cannot be compared has a line with the reason.
func Diff(ctx context.Context, s *session.Session, p plan.Plan) (map[plan.StepID][]plan.StepDiff, error) {
	o := newOperation(s, nil, RunOptions{})
	programs, err := os.MkdirTemp("", "pai-diff-")
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	defer os.RemoveAll(programs)
	kubeadms := &kubeadms{dir: programs, done: map[string]error{}}
	pins := plan.PinsOf(s.Releases)
	changes := map[plan.StepID][]plan.StepDiff{}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(maxParallel)
	for _, step := range p.Steps {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, diffTimeout)
			defer cancel()
			found, err := o.diffStep(ctx, step, kubeadms)
			if err != nil {
				found = append(found, plan.StepDiff{What: "something", Action: "unknown", Note: "cannot be compared: " + err.Error()})
			}
			found = append(plan.ProgramChanges(step, pins), found...)
			mu.Lock()
			defer mu.Unlock()
			if len(found) > 0 {
				changes[step.ID] = found
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return changes, ctx.Err()
}

func (o *operation) diffStep(ctx context.Context, step plan.Step, k *kubeadms) ([]plan.StepDiff, error) {
	bundle, err := bundleFor(o.Session, step)
	if err != nil {
		return nil, err
	}
	doers, err := o.doersFor(step)
	if err != nil {
		return nil, err
	}
	if bundle != nil {
		deps := machineDeps(o.Session)
		deps.Bundle, deps.Kubeadm = bundle, k.of(bundle)
		if d := cluster.Doers(deps)[step.Kind]; d != nil {
			doers[step.Kind] = d
		}
	}
	d, ok := doers[step.Kind].(plan.Differ)
	if !ok {
		return nil, nil
	}
	return d.Diff(ctx, step)
}

// kubeadms are the kubeadm programs of the bundles, which run on this host:
// kubeadm prints how components are started, and needs no cluster for that.
type kubeadms struct {
	dir  string
	mu   sync.Mutex
	done map[string]error // by the digest of the bundle
}

func (k *kubeadms) of(b *release.Bundle) func(context.Context, []byte, string) (string, error) {
	return func(ctx context.Context, config []byte, script string) (string, error) {
		program, err := k.unpack(ctx, b)
		if err != nil {
			return "", fmt.Errorf("unpack kubeadm of release %s: %w", b.Manifest().Metadata.Name, err)
		}
		file, err := os.CreateTemp(k.dir, "kubeadm-*.yaml")
		if err != nil {
			return "", err
		}
		_, err = file.Write(config)
		if err := errors.Join(err, file.Close()); err != nil {
			return "", err
		}
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", fmt.Sprintf("set -eu\nkubeadm=%s config=%s\n%s", machine.Quote(program), machine.Quote(file.Name()), script))
		cmd.WaitDelay = time.Second
		out, err := cmd.Output()
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			err = fmt.Errorf("%w: %s", err, ended.Stderr)
		}
		return string(out), err
	}
}

// unpack copies kubeadm from a bundle, once.
func (k *kubeadms) unpack(ctx context.Context, b *release.Bundle) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	program := filepath.Join(k.dir, filepath.Base(b.Digest()))
	if err, done := k.done[b.Digest()]; done {
		return program, err
	}
	err := unpack(ctx, b, "bin/kubeadm", program)
	k.done[b.Digest()] = err
	return program, err
}

// unpack copies one program from a bundle. The file exists only if the layer of
// the program verifies.
func unpack(ctx context.Context, b *release.Bundle, name, file string) error {
	return atomicfile.WithoutForks(func() error {
		return atomicfile.WriteFrom(file, 0o700, func(w io.Writer) error { return b.WriteProgram(ctx, w, name) })
	})
}
