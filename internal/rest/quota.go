package rest

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// quota is what the queue of a virtual cluster has of one resource: cores in thousandths,
// memory in bytes.
type quota struct {
	// cohort names the queues that borrow from and lend to each other; empty if the queue
	// does neither.
	cohort        string
	nominal, used int64
	// borrows and lends are at most what; nil is no bound.
	borrows, lends *int64
}

// quotas are those of all virtual clusters for one resource, by their names.
type quotas map[string]quota

// kept is the part that others can never borrow.
func (q quota) kept() int64 {
	if q.lends == nil {
		return 0
	}
	return max(0, q.nominal-*q.lends)
}

// borrowed is what the jobs of the virtual cluster use beyond its limit.
func (q quota) borrowed() int64 { return max(0, q.used-q.nominal) }

// pool is what the queues of a cohort lend, and how much of that is used.
func (all quotas) pool(cohort string) (lent, used int64) {
	for _, q := range all {
		if q.cohort == cohort {
			lent += q.nominal - q.kept()
			used += max(0, q.used-q.kept())
		}
	}
	return lent, used
}

// within is how much more a virtual cluster can use if it borrows at most so much, as Kueue
// decides; nil is no bound.
func (all quotas) within(name string, borrows *int64) int64 {
	q := all[name]
	if q.cohort == "" {
		return max(0, q.nominal-q.used)
	}
	lent, used := all.pool(q.cohort)
	shared := lent - used
	if borrows != nil {
		shared = min(shared, q.nominal-q.kept()-max(0, q.used-q.kept())+*borrows)
	}
	return max(0, max(0, q.kept()-q.used)+shared)
}

// free is how much more the jobs of a virtual cluster can use now.
func (all quotas) free(name string) int64 { return all.within(name, all[name].borrows) }

// lent is the part of the limit of a virtual cluster that its jobs cannot use now because
// jobs of others do. If several lend, it is less than what is borrowed: who needs
// theirs first has it.
func (all quotas) lent(name string) int64 {
	q := all[name]
	return max(0, q.nominal-q.used) - all.within(name, new(int64))
}

// most is how much a virtual cluster can use if no other does.
func (all quotas) most(name string) int64 {
	q := all[name]
	if q.cohort == "" {
		return q.nominal
	}
	lent, _ := all.pool(q.cohort)
	most := q.kept() + lent
	if q.borrows != nil {
		most = min(most, q.nominal+*q.borrows)
	}
	return most
}

// quotas reads the queues of all virtual clusters, by resource.
func (c *Core) quotas(ctx context.Context) (map[string]quotas, error) {
	all := map[string]quotas{}
	var err error
	for _, version := range []schema.GroupVersionResource{clusterQueues, newerClusterQueues} {
		err = eachItem(ctx, "", listing(c.cluster.Dynamic().Resource(version).List), func(queue *unstructured.Unstructured) error {
			addQuotas(all, queue)
			return nil
		})
		if !apierrors.IsNotFound(err) { // else this version is not served
			break
		}
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, apiError("read the quotas of virtual clusters", err)
	}
	return all, nil
}

// addQuotas adds what a queue has of each resource. PAI gives each queue one flavor.
func addQuotas(all map[string]quotas, queue *unstructured.Unstructured) {
	cohort, _, _ := unstructured.NestedString(queue.Object, "spec", "cohort")
	if newer, _, _ := unstructured.NestedString(queue.Object, "spec", "cohortName"); newer != "" {
		cohort = newer
	}
	of := map[string]quota{}
	groups, _, _ := unstructured.NestedSlice(queue.Object, "spec", "resourceGroups")
	for _, g := range groups {
		for _, f := range nestedList(g, "flavors") {
			for _, r := range nestedList(f, "resources") {
				name, nominal := amountIn(r, "nominalQuota")
				q := quota{cohort: cohort}
				q.nominal, _ = nominal.units(name)
				q.borrows, q.lends = boundIn(r, "borrowingLimit"), boundIn(r, "lendingLimit")
				of[name] = q
			}
		}
	}
	flavors, _, _ := unstructured.NestedSlice(queue.Object, "status", "flavorsUsage")
	for _, f := range flavors {
		for _, r := range nestedList(f, "resources") {
			name, total := amountIn(r, "total")
			q := of[name]
			q.used, _ = total.units(name)
			of[name] = q
		}
	}
	for name, q := range of {
		if all[name] == nil {
			all[name] = quotas{}
		}
		all[name][queue.GetName()] = q
	}
}

// quantityText is a quantity as an object has it.
type quantityText string

// units are thousandths of cores, bytes, or GPUs; false if there is no quantity. They do not
// add up to more than 64 bits have.
func (text quantityText) units(resourceName string) (int64, bool) {
	q, err := resource.ParseQuantity(string(text))
	if err != nil {
		return 0, false
	}
	if resourceName == "cpu" {
		return min(q.MilliValue(), 1<<52), true
	}
	return min(q.Value(), 1<<52), true
}

func amountIn(value any, field string) (name string, text quantityText) {
	m, _ := value.(map[string]any)
	name, _ = m["name"].(string)
	t, _ := m[field].(string)
	return name, quantityText(t)
}

func boundIn(value any, field string) *int64 {
	name, text := amountIn(value, field)
	if n, ok := text.units(name); ok {
		return &n
	}
	return nil
}
