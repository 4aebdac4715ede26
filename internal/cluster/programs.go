package cluster

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// controlPlanePrograms are those that only a machine with the control plane gets.
var controlPlanePrograms = map[string]bool{
	"bin/kube-apiserver": true, "bin/kube-controller-manager": true, "bin/kube-scheduler": true,
	"bin/etcd": true, "bin/etcdctl": true, "bin/etcdutl": true, "bin/kubeadm": true, "bin/kubectl": true,
}

func (c *cluster) programsDone(ctx context.Context, s plan.Step) (bool, error) {
	h, _, err := c.target(s)
	if err != nil {
		return false, err
	}
	out, err := sh(ctx, h, "[ ! -e %s ] || echo there", installedFile(s.To))
	return out == "there", err
}

// programs brings the programs of one version. Their folder appears whole, by
// a rename; what an interrupted run left is thrown away.
func (c *cluster) programs(ctx context.Context, s plan.Step) error {
	h, m, err := c.target(s)
	if err != nil {
		return err
	}
	if err := carries(c.Bundle, s.To); err != nil {
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
	go func() { w.CloseWithError(c.sendPrograms(ctx, w, m, packed)) }()
	defer r.Close() // ends the writer when the command ended first
	dir := versionDir(s.To)
	_, err = h.Run(ctx, machine.Command{Stdin: r, Script: fmt.Sprintf(`
umask 022
[ ! -e %[2]s ] || exit 0
rm -rf %[1]s.new
mkdir -p %[1]s.new
%[3]s | tar -x -C %[1]s.new --no-same-owner -f -
mkdir -p %[1]s.new/run %[1]s.new/etc
[ -x %[1]s.new/bin/kubelet ]
[ -e %[1]s.new/release.json ]
sync -f %[1]s.new
rm -rf %[1]s
mv -T %[1]s.new %[1]s`, dir, installedFile(s.To), unpack)})
	if err != nil {
		return fmt.Errorf("copy the programs of Kubernetes %s to %q: %w", s.To, h.Name(), err)
	}
	return nil
}

const zstdProgram = "zstd"

// canUnpack reports whether the machine can unpack zstd. Most can; it is a
// third of what has to go over the connection otherwise.
func canUnpack(ctx context.Context, h machine.Host) (bool, error) {
	out, err := sh(ctx, h, "command -v %s || :", zstdProgram)
	return out != "", err
}

// sendPrograms writes the tar that a machine gets, compressed if it is to be.
func (c *cluster) sendPrograms(ctx context.Context, w io.Writer, m config.Machine, packed bool) error {
	if !packed {
		return c.writePrograms(ctx, w, m)
	}
	enc, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	return errors.Join(c.writePrograms(ctx, enc, m), enc.Close())
}

// writePrograms writes the tar that a machine gets: what it needs of the
// bundle's programs, and release.json.
func (c *cluster) writePrograms(ctx context.Context, w io.Writer, m config.Machine) error {
	r, all := io.Pipe()
	go func() { all.CloseWithError(c.Bundle.WritePrograms(ctx, all)) }()
	defer r.Close()
	tr, tw := tar.NewReader(r), tar.NewWriter(w)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read the bundle's programs: %w", err)
		}
		name := path.Clean(h.Name)
		if strings.HasPrefix(name, "..") || path.IsAbs(name) {
			return fmt.Errorf("the bundle's programs contain %q, which is outside of their folder", h.Name)
		}
		if controlPlanePrograms[name] && !m.ControlPlane() {
			continue
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(tw, tr); err != nil {
			return err
		}
	}
	about, err := json.MarshalIndent(installedFrom(c.Bundle), "", "  ")
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: "release.json", Mode: 0o644, Size: int64(len(about))}); err != nil {
		return err
	}
	if _, err := tw.Write(about); err != nil {
		return err
	}
	return tw.Close()
}
