package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/release"
)

// programBundle has programs of both kinds of machines.
type programBundle struct {
	BundleContent
	broken bool
}

func (programBundle) Manifest() release.Manifest { return release.Manifest{} }
func (programBundle) Digest() string             { return "sha256:0" }
func (programBundle) Image(string) string        { return "" }
func (b programBundle) WritePackedPrograms(ctx context.Context, w io.Writer) error {
	enc, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	return errors.Join(b.WritePrograms(ctx, enc), enc.Close())
}
func (b programBundle) WritePrograms(_ context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, name := range []string{"bin/etcd", "bin/kubelet"} {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(name))}); err != nil {
			return err
		}
		if _, err := tw.Write([]byte(name)); err != nil {
			return err
		}
	}
	if b.broken {
		return errors.New("the bundle is spoiled")
	}
	return tw.Close()
}

// A machine gets the same programs whether or not it can unpack zstd. Only
// control-plane machines get those of the control plane. release.json comes last,
// and is missing after a failure.
func TestProgramsAreSent(t *testing.T) {
	t.Parallel()
	worker, control := config.Machine{Role: "worker"}, config.Machine{Role: config.RoleControlPlane}
	for _, packed := range []bool{true, false} {
		for _, try := range []struct {
			machine config.Machine
			broken  bool
			want    []string
		}{
			{control, false, []string{"bin/etcd", "bin/kubelet", "release.json"}},
			{worker, false, []string{"bin/kubelet", "release.json"}},
			{worker, true, nil},
		} {
			c := &cluster{Deps: Deps{Bundle: programBundle{broken: try.broken}}}
			var sent bytes.Buffer
			err := c.sendPrograms(t.Context(), &sent, packed)
			if (err != nil) != try.broken {
				t.Errorf("packed %v, broken %v: %v", packed, try.broken, err)
			}
			if names := namesIn(t, &sent, try.machine, packed); !try.broken && !slices.Equal(names, try.want) || slices.Contains(names, "release.json") == try.broken {
				t.Errorf("packed %v, broken %v: sent %v, want %v", packed, try.broken, names, try.want)
			}
		}
	}
}

// namesIn lists what a machine would unpack, as far as it could, with the tar
// that machines have.
func namesIn(t *testing.T, sent io.Reader, m config.Machine, packed bool) []string {
	t.Helper()
	if packed {
		unpacked, err := zstd.NewReader(sent)
		if err != nil {
			t.Fatal(err)
		}
		defer unpacked.Close()
		sent = unpacked
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "tar -t -i --anchored "+excludedPrograms(m)+" -f -")
	cmd.Stdin = sent
	out, err := cmd.Output()
	if err != nil {
		t.Logf("tar: %v", err) // what was cut short ends so
	}
	return strings.Fields(string(out))
}
