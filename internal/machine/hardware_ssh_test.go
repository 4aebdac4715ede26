package machine_test

import (
	"os"
	"runtime"
	"testing"

	"pai.dev/pai/internal/machine"
)

func TestReadHardwareOfThisHost(t *testing.T) {
	t.Parallel()
	host, err := machine.Dial(t.Context(), startSSHD(t).endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	hw, err := machine.ReadHardware(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if hw.Hostname != name || hw.Cores < 1 || hw.Cores > runtime.NumCPU() || hw.MemoryMiB < 256 || hw.OS == "" {
		t.Errorf("got %+v, want the hardware of this host", hw)
	}
}
