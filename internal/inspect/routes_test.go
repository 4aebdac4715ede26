package inspect_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pai.dev/pai/internal/inspect"
)

// The lines are those of a machine with a little-endian processor.
const someRoutes = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100090A	0003	0	0	100	00000000	0	0	0
eth0	0000090A	00000000	0001	0	0	100	00FFFFFF	0	0	0
tun0	00004064	00000000	0001	0	0	0	0000C0FF	0	0	0
`

func TestRoutes(t *testing.T) {
	t.Parallel()
	r := booted(t)
	r.Write("/proc/net/route", someRoutes)
	report := r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}, "p")
	want := []inspect.Route{{Interface: "eth0", To: "0.0.0.0/0"}, {Interface: "eth0", To: "10.9.0.0/24"}, {Interface: "tun0", To: "100.64.0.0/10"}}
	if report.Condition == nil || !reflect.DeepEqual(report.Condition.Routes, want) {
		t.Errorf("got %+v, %v, want %+v", report.Condition, report.Problems, want)
	}
}

func TestRoutesThatCannotBeReadAreAProblem(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"eth0\t0000090A\n", "eth0\tX\t0\t1\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"} {
		r := booted(t)
		r.Write("/proc/net/route", "Iface\n"+line)
		report := r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}, "p")
		if report.Condition != nil || !strings.Contains(fmt.Sprint(report.Problems), "/proc/net/route, line 2") {
			t.Errorf("%q: got %+v, %v, want a problem", line, report.Condition, report.Problems)
		}
	}
}
