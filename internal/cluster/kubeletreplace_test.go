package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"pai.dev/pai/internal/machine"
)

// cutOff is a machine whose connection is lost while a swap goes on.
type cutOff struct {
	machine.Host
	swap  error
	asked []error // what the questions after it end with; nil: it goes on
	calls int
}

func (h *cutOff) Name() string { return "gpu-01" }

func (h *cutOff) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	if strings.Contains(c.Script, "systemd-run") {
		return machine.Output{}, h.swap
	}
	h.calls++
	if h.calls > len(h.asked) {
		return machine.Output{}, nil
	}
	return machine.Output{Stdout: "goes on\n"}, h.asked[h.calls-1]
}

// A swap whose connection is lost has not failed: the machine does it by itself.
func TestSwapOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	lost := fmt.Errorf("gpu-01: %w", machine.ErrConnectionLost)
	broken := errors.New("the new kubelet does not come up")
	for name, test := range map[string]struct {
		host  cutOff
		calls int
		err   error
	}{
		"nothing happens":                {cutOff{}, 0, nil},
		"the swap fails":                 {cutOff{swap: broken}, 0, broken},
		"cut off, and over":              {cutOff{swap: lost}, 1, nil},
		"cut off, and it goes on":        {cutOff{swap: lost, asked: []error{nil, nil}}, 3, nil},
		"cut off, and it stays so a bit": {cutOff{swap: lost, asked: []error{lost, lost, nil}}, 4, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := test.host
				if err := replaceOnMachine(t.Context(), &h, "/swap", "v0.10-pai"); !errors.Is(err, test.err) || h.calls != test.calls {
					t.Errorf("asked %d times, want %d; error %v", h.calls, test.calls, err)
				}
			})
		})
	}
	t.Run("the machine never comes back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := cutOff{swap: lost, asked: make([]error, 1000)}
			for i := range h.asked {
				h.asked[i] = lost
			}
			if err := replaceOnMachine(t.Context(), &h, "/swap", "v0.10-pai"); err == nil || !strings.Contains(err.Error(), "timed out after 1m30s waiting for the end") {
				t.Errorf("error %v", err)
			}
		})
	})
}
