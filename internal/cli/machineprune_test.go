package cli

import "testing"

func TestFirstReasons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reasons []string
		want    string
	}{
		{nil, ""}, {[]string{"a", "b", "c"}, "a; b; c"}, {[]string{"a", "b", "c", "d", "e"}, "a; b; c; and 2 more"},
	} {
		if got := firstReasons(c.reasons); got != c.want {
			t.Errorf("%v: got %q, want %q", c.reasons, got, c.want)
		}
	}
}
