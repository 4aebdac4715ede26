package inspecttest

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/machine"
)

// Host is a made-up machine: its files are below a root directory, the helper
// answers for it, and Script runs other scripts.
type Host struct {
	*Root
	Hostname string
	// Script runs a script; a nil Script succeeds with no output.
	Script func(ctx context.Context, c machine.Command) (string, error)
	// Scripts are the scripts that ran.
	Scripts []string
	// Dialer connects for Dial; without it, nothing listens.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
}

var _ machine.Host = (*Host)(nil)

// NewHost makes an empty machine.
func NewHost(t testing.TB, name string) *Host {
	t.Helper()
	return &Host{Root: NewRoot(t), Hostname: name}
}

// Name is the name of the machine.
func (h *Host) Name() string { return h.Hostname }

// Address is an address for the other machines.
func (h *Host) Address() string { return "127.0.0.1" }

// Close does nothing.
func (h *Host) Close() error { return nil }

// Run answers a request to the helper, or passes a script to Script.
func (h *Host) Run(ctx context.Context, c machine.Command) (machine.Output, error) {
	if answered, err := Answer(ctx, h.Machine(), c); answered || ctx.Err() != nil {
		return machine.Output{}, errors.Join(err, ctx.Err())
	}
	h.Scripts = append(h.Scripts, c.Script)
	if h.Script == nil {
		return machine.Output{}, nil
	}
	out, err := h.Script(ctx, c)
	return machine.Output{Stdout: out}, err
}

// Ran reports whether a script with this text ran.
func (h *Host) Ran(text string) bool {
	return slices.ContainsFunc(h.Scripts, func(s string) bool { return strings.Contains(s, text) })
}

// Dial connects with Dialer.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.Dialer == nil {
		return nil, errors.New("connection refused")
	}
	return h.Dialer(ctx, network, address)
}
