package witness

import (
	"slices"
	"testing"
)

func steps(ids ...string) (list []Step) {
	for _, id := range ids {
		list = append(list, Step{ID: id})
	}
	return list
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	var l timeline
	if got := l.at(at(0)); got != "" {
		t.Errorf("got %q before the first step", got)
	}
	for _, e := range []struct {
		ms    int
		steps []Step
	}{{1000, steps("a")}, {2000, steps("a", "b")}, {2500, steps("a", "b")}, {3000, steps("b")}, {4000, nil}, {5000, steps("c")}} {
		l.note(at(e.ms), e.steps...)
	}
	for _, test := range []struct {
		from, to int
		want     string
	}{
		{0, 0, "a"}, {1000, 1000, "a"}, {1999, 1999, "a"}, {2000, 2000, "a, b"}, {3500, 3500, "b"}, {4500, 4500, ""}, {9000, 9000, "c"},
		{1500, 2500, "a, b"}, {3500, 5000, "b, c"}, {4100, 4900, ""}, {0, 500, "a"},
	} {
		if got := l.during(at(test.from), at(test.to)); got != test.want {
			t.Errorf("from %d to %d ms: got %q, want %q", test.from, test.to, got, test.want)
		}
	}
	if got := l.now(); !slices.Equal(got, steps("c")) {
		t.Errorf("got %v now, want c", got)
	}
}

func TestStepsOn(t *testing.T) {
	t.Parallel()
	const a, b, clean, service = "kubernetes/v2/machine/a/kubelet", "kubernetes/v2/machine/b/kubelet", "clean/machine/a", "services/v2/storage"
	for _, c := range []struct{ machine, steps, want string }{
		{"a", "", ""}, {"a", a, a}, {"a", a + ", " + b, a}, {"b", a + ", " + b, b}, {"c", a + ", " + b, a + ", " + b},
		{"a", b + ", " + service, service}, {"a", b + ", " + clean, clean}, {"aa", a + ", " + service, service},
	} {
		if got := stepsOn(c.machine, c.steps); got != c.want {
			t.Errorf("machine %s, steps %q: got %q, want %q", c.machine, c.steps, got, c.want)
		}
	}
}

// A step reaches every container of the jobs on its machine, and only while it is
// in progress.
func TestTimelineReaching(t *testing.T) {
	t.Parallel()
	var l timeline
	everywhere, onA, harmless := Step{ID: "storage", Everywhere: true}, Step{ID: "kubelet", Machine: "a"}, Step{ID: "api"}
	l.note(at(0))
	l.note(at(1000), onA, harmless)
	l.note(at(2000), harmless)
	l.note(at(3000), everywhere)
	l.note(at(4000))
	for _, test := range []struct {
		from, to int
		machines []string
		want     string
	}{
		{0, 999, []string{"a"}, ""}, {0, 1000, []string{"a"}, "kubelet"}, {1500, 1600, []string{"a"}, "kubelet"}, {1500, 1600, []string{"b"}, ""},
		{1500, 1600, []string{"b", "a"}, "kubelet"}, {2000, 2999, []string{"a"}, ""}, {500, 3500, []string{"b"}, "storage"},
		{500, 9000, []string{"a"}, "kubelet, storage"}, {4000, 9000, []string{"a"}, ""}, {1500, 1600, nil, ""},
	} {
		if got := l.reaching(at(test.from), at(test.to), test.machines); got != test.want {
			t.Errorf("%v from %d to %d ms: got %q, want %q", test.machines, test.from, test.to, got, test.want)
		}
	}
}
