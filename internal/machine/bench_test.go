package machine_test

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	"pai.dev/pai/internal/machine"
)

// BenchmarkStdin measures how fast programs and images reach a machine.
func BenchmarkStdin(b *testing.B) {
	const size = 64 << 20
	host := startSSHD(b).dial(b)
	scripts := map[string]string{"discard": "cat >/dev/null", "tar": "cd " + machine.Quote(b.TempDir()) + " && tar -x"}
	for name, script := range scripts {
		b.Run(name, func(b *testing.B) {
			in, feed := io.Pipe()
			go func() {
				piece := bytes.Repeat([]byte("0123456789abcdef"), size/16)
				t := tar.NewWriter(feed)
				for range b.N {
					t.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: size})
					t.Write(piece)
				}
				t.Close()
				feed.Close()
			}()
			b.SetBytes(size)
			if _, err := host.Run(b.Context(), machine.Command{Script: script, Stdin: in}); err != nil {
				b.Fatal(err)
			}
		})
	}
}
