package config

import (
	"slices"
	"strconv"
)

// SharesQuota reports whether the virtual cluster borrows or lends.
func (v VirtualCluster) SharesQuota() bool { return v.Borrow || v.Lend }

// FairShares reports whether a virtual cluster has a weight.
func (s Services) FairShares() bool {
	for _, vc := range s.VirtualClusters {
		if vc.Weight > 0 {
			return true
		}
	}
	return false
}

// QuotaBound is a field of the quota of a resource in Kueue, and its value as a quantity.
type QuotaBound struct{ Field, Quantity string }

// sharedResources are the resources that virtual clusters can borrow and lend, by their
// names in Kubernetes: the limit of each, and what of it is borrowed and lent at most.
func (v VirtualCluster) sharedResources() map[string]struct {
	limit, borrow, lend int
	unit                string
} {
	return map[string]struct {
		limit, borrow, lend int
		unit                string
	}{
		"cpu":            {v.CPU, v.BorrowCPU, v.LendCPU, ""},
		"memory":         {v.MemoryMB, v.BorrowMemoryMB, v.LendMemoryMB, "Mi"},
		"nvidia.com/gpu": {v.GPU, v.BorrowGPU, v.LendGPU, ""},
	}
}

// QuotaBounds are the bounds of what is borrowed and lent of a resource, for the template of
// Kueue. Nothing is borrowed or lent of what has no limit: that is a number which no cluster
// has. A virtual cluster that neither borrows nor lends has none, which Kueue requires.
func (v VirtualCluster) QuotaBounds(resource string) (bounds []QuotaBound) {
	if !v.SharesQuota() {
		return nil
	}
	r := v.sharedResources()[resource]
	bound := func(field string, shares bool, most int) {
		switch {
		case !shares || r.limit == 0:
			bounds = append(bounds, QuotaBound{field, "0"})
		case most > 0:
			bounds = append(bounds, QuotaBound{field, strconv.Itoa(most) + r.unit})
		}
	}
	bound("borrowingLimit", v.Borrow, r.borrow)
	bound("lendingLimit", v.Lend, r.lend)
	return bounds
}

// borrowingKeys are the keys of what a virtual cluster shares.
func borrowingKeys() []key {
	const older = "; a `paictl` before v0.11 refuses the key"
	const borrowed = "none; running jobs keep what they borrowed until they end"
	const lent = "none; what jobs of others borrowed comes back when they end"
	most := func(name, unit, what, jobs string, highest int) key {
		return key{name: name, shape: number, format: between(1, highest), unit: unit, def: "no limit", meaning: what + older, jobs: jobs}
	}
	return []key{
		{name: "borrow", shape: flag, def: "false", jobs: borrowed,
			meaning: "its jobs can also use what virtual clusters with `lend` do not use; see [borrowing](operating.md#quotas-that-virtual-clusters-share)" + older},
		most("borrow-cpu", "cores", "CPU cores that it borrows at most", borrowed, 1<<24),
		most("borrow-memory-mb", "MiB", "memory that it borrows at most", borrowed, 1<<40),
		most("borrow-gpu", "", "GPUs that it borrows at most", borrowed, 1<<20),
		{name: "lend", shape: flag, def: "false", jobs: lent,
			meaning: "jobs of virtual clusters with `borrow` can use what it does not use of its limits; what has no limit is not lent" + older},
		most("lend-cpu", "cores", "CPU cores that it lends at most", lent, 1<<24),
		most("lend-memory-mb", "MiB", "memory that it lends at most", lent, 1<<40),
		most("lend-gpu", "", "GPUs that it lends at most", lent, 1<<20),
		{name: "weight", shape: number, format: between(1, 1000), def: "1; without any weight, virtual clusters borrow in the order of their jobs", jobs: jobsNone,
			meaning: "who borrows next if several wait: the one that has borrowed the least for its weight" + older},
	}
}

// borrowing checks that bounds bound something.
func (r rules) borrowing() {
	for name, vc := range r.c.Services.VirtualClusters {
		path := "virtual-clusters." + name + "."
		needs := func(set bool, key string, has bool, what string) {
			if set && !has {
				r.problem(ServicesFile, path+key, "%s: virtual cluster %s does not have %s: true", key, name, what)
			}
		}
		needs(vc.BorrowCPU > 0, "borrow-cpu", vc.Borrow, "borrow")
		needs(vc.BorrowMemoryMB > 0, "borrow-memory-mb", vc.Borrow, "borrow")
		needs(vc.BorrowGPU > 0, "borrow-gpu", vc.Borrow, "borrow")
		needs(vc.Weight > 0, "weight", vc.Borrow, "borrow")
		for _, l := range []struct {
			key, limitKey string
			lend, limit   int
		}{{"lend-cpu", "cpu", vc.LendCPU, vc.CPU}, {"lend-memory-mb", "memory-mb", vc.LendMemoryMB, vc.MemoryMB}, {"lend-gpu", "gpu", vc.LendGPU, vc.GPU}} {
			needs(l.lend > 0, l.key, vc.Lend, "lend")
			if vc.Lend && l.lend > l.limit {
				r.problem(ServicesFile, path+l.key, "%s: virtual cluster %s lends more than its %s, which is %s", l.key, name, l.limitKey, limitText(l.limit))
			}
		}
		if limits := []int{vc.CPU, vc.MemoryMB, vc.GPU}; vc.SharesQuota() && slices.Max(limits) == 0 {
			key := "borrow"
			if !vc.Borrow {
				key = "lend"
			}
			r.problem(ServicesFile, path+key, "%s: virtual cluster %s has no limit: set cpu, memory-mb, or gpu", key, name)
		}
	}
}

func limitText(limit int) string {
	if limit == 0 {
		return "not limited"
	}
	return strconv.Itoa(limit)
}
