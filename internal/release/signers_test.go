package release

import "testing"

func TestSomeOf(t *testing.T) {
	t.Parallel()
	for want, signers := range map[string][]string{
		"a":                 {"a"},
		"a and b":           {"a", "b"},
		"c, d and 2 others": {"a", "b", "c", "d"},
	} {
		if got := someOf(signers); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
