package plugin

import (
	"slices"
	"strings"
	"testing"
)

func TestPreferredKeepsGPUsTogether(t *testing.T) {
	t.Parallel()
	var devices []Device // a to d near node 0, e to h near node 1
	for i, id := range strings.Split("abcdefgh", "") {
		devices = append(devices, Device{ID: id, NUMA: i / 4})
	}
	split := func(s string) []string { return strings.Split(s, "")[:len(s)] }
	for name, c := range map[string]struct {
		available, must string
		size            int
		want            string
	}{
		"one of all":                      {"abcdefgh", "", 1, "a"},
		"the smaller group that fits":     {"bcdgh", "", 2, "gh"},
		"not the group that is too small": {"bcdh", "", 2, "bc"},
		"a whole group":                   {"abcdefgh", "", 4, "abcd"},
		"more than a group":               {"bcdefgh", "", 5, "efghb"},
		"near what is needed":             {"abcdefgh", "e", 3, "efg"},
		"what is needed, and no more":     {"ab", "b", 1, "b"},
		"fewer than asked":                {"ab", "", 4, "ab"},
		"none":                            {"ab", "", 0, ""},
	} {
		if got := preferred(devices, split(c.available), split(c.must), c.size); !slices.Equal(got, split(c.want)) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
