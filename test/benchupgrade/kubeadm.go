package main

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"pai.dev/pai/internal/release"
	"pai.dev/pai/test/chaos"
)

//go:embed kubeadm.sh
var kubeadmScript string

// kubeadm measures `kubeadm upgrade apply` and a replacement of the kubelet, on a
// machine like PAI's, with PAI's programs, in images where kubeadm wants
// images. Everything is on the machine before the clock starts, and there are
// no add-ons to upgrade: both are advantages of kubeadm.
func (b *bench) kubeadm(ctx context.Context) error {
	c := b.cluster
	if err := c.Down(ctx); err != nil {
		return err
	}
	defer func() { _ = c.Down(ctx) }() // what is left, the next run takes down
	if _, err := c.Sign(ctx); err != nil {
		return err
	}
	if _, err := c.Run(ctx, 5*time.Minute, "machine", "up", "--count", "1"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pai-bench-kubeadm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.unpack(ctx, dir); err != nil {
		return err
	}
	tarOut := exec.CommandContext(ctx, "tar", "-c", "-C", dir, "-f", "-", "old", "new", "images.tar")
	stream, err := tarOut.StdoutPipe()
	if err != nil {
		return err
	}
	if err := tarOut.Start(); err != nil {
		return err
	}
	if err := b.onMachine(ctx, stream, "install"); err != nil {
		return errors.Join(err, tarOut.Wait())
	}
	if err := tarOut.Wait(); err != nil {
		return err
	}
	address, err := c.Address(ctx, "pai-1")
	if err != nil {
		return err
	}
	if err := b.onMachine(ctx, nil, "init", address); err != nil {
		return err
	}
	cfg, err := adminConfig(ctx, c)
	if err != nil {
		return err
	}
	return b.sampled(ctx, "kubeadm, Kubernetes v1.36.3 to v1.37.2 with everything in place", cfg, func() error {
		return b.onMachine(ctx, nil, "upgrade")
	})
}

// onMachine runs a part of the script on the machine.
func (b *bench) onMachine(ctx context.Context, stdin io.Reader, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 12*time.Minute)
	defer cancel()
	script := "set -eu\nset -- " + strings.Join(args, " ") + "\n" + kubeadmScript
	cmd := exec.CommandContext(ctx, b.cluster.Paictl, "machine", "shell", "pai-1", "--", script)
	cmd.Env = append(os.Environ(), "PAI_STATE_DIR="+b.cluster.State)
	cmd.Stdin = stdin
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", args[0], err, out.String())
	}
	fmt.Fprintf(os.Stderr, "%s\n", out.String())
	return nil
}

// unpack writes the programs of both releases into dir/old and dir/new, and
// the images that kubeadm of both wants, made of them, into dir/images.tar.
func (b *bench) unpack(ctx context.Context, dir string) error {
	images := map[name.Reference]v1.Image{}
	for name, of := range map[string]struct{ release, upstream, etcd, pause string }{
		"old": {chaos.From, "v1.36.3", "3.6.8-0", "3.10.2"},
		"new": {chaos.To, "v1.37.2", "3.7.0-0", "3.10.2"},
	} {
		bundle, err := b.openBundle(of.release)
		if err != nil {
			return err
		}
		programs := filepath.Join(dir, name)
		if err := extract(ctx, bundle, programs); err != nil {
			return err
		}
		tags := map[string]string{"kube-apiserver": of.upstream, "kube-controller-manager": of.upstream, "kube-scheduler": of.upstream, "etcd": of.etcd}
		for program, tag := range tags {
			if err := addImage(images, program+":"+tag, filepath.Join(programs, "bin", program)); err != nil {
				return err
			}
		}
		if err := addImage(images, "pause:"+of.pause, filepath.Join(dir, "pause")); err != nil {
			return err
		}
	}
	return tarball.MultiRefWriteToFile(filepath.Join(dir, "images.tar"), images)
}

func extract(ctx context.Context, bundle *release.Bundle, dir string) error {
	pause := filepath.Join(filepath.Dir(dir), "pause")
	build := exec.CommandContext(ctx, "go", "build", "-o", pause, "./test/benchupgrade/pause")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build pause: %w\n%s", err, out)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(bundle.WritePrograms(ctx, w)) }()
	unpack := exec.CommandContext(ctx, "tar", "-x", "-C", dir, "--no-same-owner", "-f", "-")
	unpack.Stdin = r
	if out, err := unpack.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack programs: %w\n%s", err, out)
	}
	return nil
}

// addImage makes an image of one static program.
func addImage(images map[name.Reference]v1.Image, ref, program string) error {
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	path := "usr/local/bin/" + filepath.Base(program)
	err = errors.Join(tw.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(data))}), write(tw, data), tw.Close())
	if err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	image, err = mutate.ConfigFile(image, withProgram(image, "/"+path))
	if err != nil {
		return err
	}
	tag, err := name.NewTag("pai.local/" + ref)
	images[tag] = image
	return err
}

func withProgram(image v1.Image, path string) *v1.ConfigFile {
	config, err := image.ConfigFile()
	if err != nil {
		return &v1.ConfigFile{}
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{Entrypoint: []string{path}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}}
	return config
}

func write(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}
