package machine

import (
	"reflect"
	"testing"
)

func TestParseHardware(t *testing.T) {
	t.Parallel()
	got, err := parseHardware(`hostname gpu-01
cores 24
memory 231062812
os Debian GNU/Linux 12 (bookworm)
gpu Tesla K80
gpu Tesla K80
disk sda  480103981056
disk sr0             0
`)
	want := Hardware{
		Hostname: "gpu-01", Cores: 24, MemoryMiB: 225647, OS: "Debian GNU/Linux 12 (bookworm)",
		GPUs: []string{"Tesla K80", "Tesla K80"}, Disks: []Disk{{"sda", 480103981056}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	for _, bad := range []string{"", "cores many\nmemory 1024\n", "cores 1\nmemory\n"} {
		if hw, err := parseHardware(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, hw)
		}
	}
}
