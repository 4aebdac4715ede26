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

// cutOff is a machine whose connection is lost while its kubelet is replaced.
type cutOff struct {
	machine.Host
	replace error
	asked   []error // results of later questions; nil: the unit runs
	calls   int
}

func (h *cutOff) Name() string { return "gpu-01" }

func (h *cutOff) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	if strings.Contains(c.Script, "systemd-run") {
		return machine.Output{}, h.replace
	}
	h.calls++
	if h.calls > len(h.asked) {
		return machine.Output{}, nil
	}
	return machine.Output{Stdout: "running\n"}, h.asked[h.calls-1]
}

// A replacement does not fail with its connection: the machine completes it.
func TestReplaceSurvivesLostConnection(t *testing.T) {
	t.Parallel()
	lost := fmt.Errorf("gpu-01: %w", machine.ErrConnectionLost)
	broken := errors.New("the new kubelet does not come up")
	for name, test := range map[string]struct {
		host  cutOff
		calls int
		err   error
	}{
		"connected":                     {cutOff{}, 0, nil},
		"replacement fails":             {cutOff{replace: broken}, 0, broken},
		"cut off, unit ended":           {cutOff{replace: lost}, 1, nil},
		"cut off, unit runs":            {cutOff{replace: lost, asked: []error{nil, nil}}, 3, nil},
		"cut off, unreachable at first": {cutOff{replace: lost, asked: []error{lost, lost, nil}}, 4, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := test.host
				if err := replaceOnMachine(t.Context(), &h, "/replace", "v0.10-pai"); !errors.Is(err, test.err) || h.calls != test.calls {
					t.Errorf("got %d questions, want %d; error %v", h.calls, test.calls, err)
				}
			})
		})
	}
	t.Run("cut off, unreachable until the timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := cutOff{replace: lost, asked: make([]error, 1000)}
			for i := range h.asked {
				h.asked[i] = lost
			}
			if err := replaceOnMachine(t.Context(), &h, "/replace", "v0.10-pai"); err == nil || !strings.Contains(err.Error(), "timed out after 1m30s waiting for the end of the kubelet replacement") {
				t.Errorf("error %v", err)
			}
		})
	})
}
