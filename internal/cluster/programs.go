package cluster

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// controlPlanePrograms are the programs that only control-plane machines need.
var controlPlanePrograms = map[string]bool{
	"bin/kube-apiserver": true, "bin/kube-controller-manager": true, "bin/kube-scheduler": true,
	"bin/etcd": true, "bin/etcdctl": true, "bin/etcdutl": true, "bin/kubeadm": true, "bin/kubectl": true,
}

func (c *cluster) programsDone(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	out, err := sh(ctx, h, "[ ! -e %s ] || echo there", installedFile(s.To.Kubernetes()))
	return out == "there", err
}

// programs copies the programs of a version. A rename makes their directory appear
// at once. Leftovers of an interrupted run are removed.
func (c *cluster) programs(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	if err := checkBundle(c.Bundle, s.To.Kubernetes()); err != nil {
		return err
	}
	c.Progress("copying the programs of Kubernetes %s to %s", s.To, h.Name())
	packed, err := canUnpack(ctx, h)
	if err != nil {
		return err
	}
	unpack := "cat"
	if packed {
		unpack = zstdProgram + " -dc"
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.sendPrograms(ctx, w, packed)) }()
	defer r.Close() // ends the writer if the command ends first
	dir := layout.VersionDir(s.To.Kubernetes())
	_, err = h.Run(ctx, machine.Command{Bulk: true, Stdin: r, Script: fmt.Sprintf(`
umask 022
[ ! -e %[2]s ] || exit 0
rm -rf %[1]s.new
mkdir -p %[1]s.new
%[3]s | tar -x -i -C %[1]s.new --no-same-owner --anchored %[4]s -f -
mkdir -p %[1]s.new/run %[1]s.new/etc
[ -x %[1]s.new/bin/kubelet ]
[ -e %[1]s.new/release.json ]
%[5]s
rm -rf %[1]s
mv -T %[1]s.new %[1]s`, dir, installedFile(s.To.Kubernetes()), unpack, excludedPrograms(m), syncTree(dir+".new"))})
	if err != nil {
		return fmt.Errorf("copy the programs of Kubernetes %s to %q: %w", s.To, h.Name(), err)
	}
	return nil
}

// excludedPrograms are tar arguments that exclude what a machine does not need.
func excludedPrograms(m config.Machine) string {
	if m.IsControlPlane() {
		return ""
	}
	var args []string
	for _, name := range slices.Sorted(maps.Keys(controlPlanePrograms)) {
		args = append(args, "--exclude="+name)
	}
	return strings.Join(args, " ")
}

const zstdProgram = "zstd"

// canUnpack reports whether the machine can unpack zstd, which reduces the
// transfer to a third.
func canUnpack(ctx context.Context, h machine.Host) (bool, error) {
	out, err := sh(ctx, h, "command -v %s || :", zstdProgram)
	return out != "", err
}

// sendPrograms writes the programs of the bundle, packed if the machine can unpack
// them. A second tar with release.json follows; it shows that everything before
// it has arrived. tar -i reads both archives.
func (c *cluster) sendPrograms(ctx context.Context, w io.Writer, packed bool) error {
	about, err := json.MarshalIndent(installedFrom(c.Bundle), "", "  ")
	if err != nil {
		return err
	}
	if !packed {
		if err := c.Bundle.WritePrograms(ctx, w); err != nil {
			return err
		}
		return writeAbout(w, about)
	}
	if err := c.Bundle.WritePackedPrograms(ctx, w); err != nil {
		return err
	}
	enc, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	return errors.Join(writeAbout(enc, about), enc.Close())
}

func writeAbout(w io.Writer, about []byte) error {
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Name: "release.json", Mode: 0o644, Size: int64(len(about))}); err != nil {
		return err
	}
	if _, err := tw.Write(about); err != nil {
		return err
	}
	return tw.Close()
}
