package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// sharedKeysDone reports whether a control-plane machine has the keys of the cluster, as the
// first control-plane machine has them, and certificates for itself.
func (c *cluster) sharedKeysDone(ctx context.Context, h machine.Host, m config.Machine, _ plan.Step) (bool, error) {
	if missing, err := lacks(ctx, h, pkiFiles()); err != nil || len(missing) > 0 {
		return false, err
	}
	seed, _, err := c.controlPlane()
	if err != nil {
		return false, err
	}
	for _, file := range keyFiles() {
		if same, err := sameFile(ctx, seed, h, file); err != nil || !same {
			return false, err
		}
	}
	return servesAs(ctx, h, layout.APIName, m.HostIP)
}

// sharedKeys brings the keys of the cluster to a control-plane machine that joins, and makes
// certificates for it there. The keys pass through this process, and are on no other disk.
func (c *cluster) sharedKeys(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	seed, _, err := c.controlPlane()
	if err != nil {
		return err
	}
	if err := claimPKI(ctx, h); err != nil {
		return err
	}
	if err := refuseKeysOfAnotherCluster(ctx, seed, h); err != nil {
		return err
	}
	if _, err := sh(ctx, h, "install -d -m 0755 %[1]s %[1]s/etcd", layout.PKIDir); err != nil {
		return fmt.Errorf("make the directory for the keys of the cluster on %q: %w", h.Name(), err)
	}
	for _, file := range keyFiles() {
		if err := copyKey(ctx, seed, h, file); err != nil {
			return err
		}
	}
	return c.ownCertificates(ctx, h, m, s.To.Kubernetes())
}

// refuseKeysOfAnotherCluster refuses a machine with a key of an authority that is not that of
// this cluster: the other cluster might have no copy.
func refuseKeysOfAnotherCluster(ctx context.Context, seed, h machine.Host) error {
	var others []string
	for _, name := range []string{"ca.key", "front-proxy-ca.key", "etcd/ca.key", "sa.key"} {
		file := layout.PKIDir + "/" + name
		if _, err := h.ReadFile(ctx, file); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		same, err := sameFile(ctx, seed, h, file)
		if err != nil {
			return err
		}
		if !same {
			others = append(others, file)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, fmt.Sprintf("if nothing needs them any more, on %s, as root: mv %[2]s %[2]s.old", h.Name(), layout.KubernetesDir),
		"machine %q has keys of another cluster: %s", h.Name(), strings.Join(others, ", "))
}

// sameFile reports whether two machines have a file with the same content. The content
// does not leave this function, so no error has it.
func sameFile(ctx context.Context, a, b machine.Host, file string) (bool, error) {
	var contents [2][]byte
	for i, h := range []machine.Host{a, b} {
		data, err := h.ReadFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read %s of %q: %w", file, h.Name(), err)
		}
		contents[i] = data
	}
	return bytes.Equal(contents[0], contents[1]), nil
}

// copyKey copies a certificate, readable by all, or a key.
func copyKey(ctx context.Context, from, to machine.Host, file string) error {
	data, err := from.ReadFile(ctx, file)
	if err != nil {
		return fmt.Errorf("read %s of %q: %w", file, from.Name(), err)
	}
	mode := fs.FileMode(0o600)
	if strings.HasSuffix(file, ".crt") || strings.HasSuffix(file, ".pub") {
		mode = 0o644
	}
	if err := to.WriteFile(ctx, file, data, mode); err != nil {
		return fmt.Errorf("copy %s to %q: %w", file, to.Name(), err)
	}
	return nil
}
