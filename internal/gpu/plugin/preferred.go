package plugin

import (
	"cmp"
	"slices"
)

// preferred chooses size GPUs. It prefers those near one NUMA node: the node with the
// fewest available GPUs that has enough, so that large groups stay for large containers.
// If no node has enough, it takes from those with the most first. Which GPUs have an
// NVLink between them is not considered.
func preferred(devices []Device, available, must []string, size int) []string {
	numa := map[string]int{}
	for _, d := range devices {
		numa[d.ID] = d.NUMA
	}
	chosen := slices.Clone(must)
	left := slices.DeleteFunc(slices.Clone(available), func(id string) bool { return slices.Contains(must, id) })
	free := map[int]int{}
	for _, id := range left {
		free[numa[id]]++
	}
	near := map[int]bool{} // nodes of what must be included
	for _, id := range must {
		near[numa[id]] = true
	}
	missing := size - len(chosen)
	rank := func(id string) int {
		n := free[numa[id]]
		switch {
		case near[numa[id]]:
			return 0
		case n >= missing:
			return 1 + n
		default:
			return 1<<20 - n
		}
	}
	slices.SortFunc(left, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(numa[a], numa[b]), cmp.Compare(a, b))
	})
	return append(chosen, left[:max(0, min(missing, len(left)))]...)
}
