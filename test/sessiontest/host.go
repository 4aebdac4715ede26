// Package sessiontest has machines in memory for tests of sessions and
// operations.
package sessiontest

import (
	"context"
	"io/fs"
	"net"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/test/runtest"
)

// Host is a machine that stores files and answers commands.
type Host struct {
	Hostname string
	Files    runtest.Dir
	// Answer runs a command; a nil Answer succeeds with no output.
	Answer func(ctx context.Context, c machine.Command) (machine.Output, error)
}

var _ machine.Host = (*Host)(nil)

func (h *Host) Name() string    { return h.Hostname }
func (h *Host) Address() string { return "127.0.0.1" }
func (h *Host) Close() error    { return nil }

func (h *Host) Run(ctx context.Context, c machine.Command) (machine.Output, error) {
	if err := ctx.Err(); err != nil || h.Answer == nil {
		return machine.Output{}, err
	}
	return h.Answer(ctx, c)
}

func (h *Host) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return h.Files.ReadFile(ctx, path)
}

func (h *Host) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	return h.Files.WriteFile(ctx, path, data, mode)
}

func (h *Host) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	return h.Files.CreateFile(ctx, path, data, mode)
}

func (h *Host) AppendFile(ctx context.Context, path string, data []byte) error {
	return h.Files.AppendFile(ctx, path, data)
}

func (h *Host) Remove(ctx context.Context, path string) error { return h.Files.Remove(ctx, path) }

func (h *Host) ReadDir(ctx context.Context, path string) ([]string, error) {
	return h.Files.ReadDir(ctx, path)
}

func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
