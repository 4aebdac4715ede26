package witness

import "testing"

func TestTimeline(t *testing.T) {
	t.Parallel()
	var l timeline
	if got := l.at(at(0)); got != "" {
		t.Errorf("got %q before the first step", got)
	}
	for _, e := range []struct {
		ms   int
		step string
	}{{1000, "a"}, {2000, "a, b"}, {2500, "a, b"}, {3000, "b"}, {4000, ""}, {5000, "c"}} {
		l.note(at(e.ms), e.step)
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
	if got := l.now(); got != "c" {
		t.Errorf("got %q now, want c", got)
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
