package helper

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strings"
	"sync"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/pai"
)

// programFiles holds the program after hack/build.sh made it; else only a note.
//
//go:embed program
var programFiles embed.FS

// carried is the program that this paictl carries.
var carried = sync.OnceValues(func() ([]byte, error) {
	const hint = "build paictl with the program; run: make build"
	packed, err := programFiles.ReadFile("program/pai-machine.gz")
	if err != nil {
		return nil, pai.Errorf(pai.CodeFailed, hint, "the program pai-machine, which machines need, is not part of this paictl")
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, pai.Errorf(pai.CodeFailed, hint, "unpack the program pai-machine: %w", err)
	}
	program, err := io.ReadAll(r)
	if err != nil {
		return nil, pai.Errorf(pai.CodeFailed, hint, "unpack the program pai-machine: %w", err)
	}
	return program, nil
})

// digest is computed once: each question to a machine needs it, and the program has
// megabytes.
var digest = sync.OnceValue(func() string {
	program, err := carried()
	if err != nil {
		return strings.Repeat("0", len(fingerprint.Of(nil)))
	}
	return fingerprint.Of(program)
})

// Digest is the sha256 of the program that this paictl carries; zeros if it
// carries none.
func Digest() string { return digest() }

// machineArch is what `uname -m` prints for a Go architecture.
func machineArch(goarch string) (string, error) {
	switch goarch {
	case "amd64":
		return "x86_64", nil
	case "arm64":
		return "aarch64", nil
	}
	return "", fmt.Errorf("PAI knows no machines of the architecture %s", goarch)
}
