package rest

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
)

// fits is what Kueue asks before it admits a job, written apart from quotas: the virtual
// cluster stays within its limit and what it can borrow, and what all use of the part that
// is lent is not more than that part.
func fits(all quotas, name string, more int64, borrows *int64) bool {
	q := all[name]
	if q.cohort == "" {
		return q.used+more <= q.nominal
	}
	if borrows != nil && q.used+more > q.nominal+*borrows {
		return false
	}
	var lent, used int64
	for other, o := range all {
		if o.cohort != q.cohort {
			continue
		}
		use, ownPart := o.used, int64(0)
		if other == name {
			use += more
		}
		if o.lends != nil {
			ownPart = o.nominal - *o.lends
		}
		lent += o.nominal - ownPart
		if use > ownPart {
			used += use - ownPart
		}
	}
	return used <= lent
}

// grows is how much more fits, one unit after the other.
func grows(all quotas, name string, borrows *int64) (n int64) {
	for fits(all, name, n+1, borrows) {
		n++
	}
	return n
}

// drawQuotas draws virtual clusters in the state to which admissions by Kueue lead.
func drawQuotas(t *rapid.T) quotas {
	all := quotas{}
	bound := func(label string, most int64) *int64 {
		if rapid.Bool().Draw(t, label+" is bounded") {
			return new(rapid.Int64Range(0, most).Draw(t, label))
		}
		return nil
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "virtual clusters") {
		q := quota{nominal: rapid.Int64Range(0, 6).Draw(t, "limit")}
		if rapid.IntRange(0, 3).Draw(t, "cohort") > 0 {
			q.cohort, q.borrows, q.lends = "pai", bound("borrowed", 6), bound("lent", q.nominal)
		}
		all[fmt.Sprint("vc", i)] = q
	}
	for range rapid.IntRange(0, 20).Draw(t, "jobs") {
		name := fmt.Sprint("vc", rapid.IntRange(0, len(all)-1).Draw(t, "where"))
		if q := all[name]; fits(all, name, 1, q.borrows) {
			q.used++
			all[name] = q
		}
	}
	return all
}

func TestQuotasAreThoseOfKueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := drawQuotas(t)
		var borrowed, lent int64
		lenders := 0
		for name, q := range all {
			if got, want := all.free(name), grows(all, name, q.borrows); got != want {
				t.Fatalf("%s of %+v: %d are free, want %d", name, all, got, want)
			}
			if got, want := all.lent(name), max(0, q.nominal-q.used)-grows(all, name, new(int64)); got != want {
				t.Fatalf("%s of %+v: %d are lent, want %d", name, all, got, want)
			}
			empty := quotas{}
			for other, o := range all {
				o.used = 0
				empty[other] = o
			}
			if got, want := all.most(name), grows(empty, name, q.borrows); got != want {
				t.Fatalf("%s of %+v: got %d at most, want %d", name, all, got, want)
			}
			if own := min(q.used, q.nominal); own+q.borrowed() != q.used {
				t.Fatalf("%s: %d and %d are not %d", name, own, q.borrowed(), q.used)
			}
			borrowed += q.borrowed()
			lent += all.lent(name)
			if q.cohort != "" && q.nominal > q.kept() {
				lenders++
			}
		}
		if lent > borrowed || lenders == 1 && lent != borrowed {
			t.Fatalf("%+v: %d are lent by %d, and %d borrowed", all, lent, lenders, borrowed)
		}
	})
}

// A virtual cluster whose configuration no longer lets it borrow keeps what it has.
func TestQuotasAfterTheConfigurationChanged(t *testing.T) {
	t.Parallel()
	all := quotas{"vision": {nominal: 4, used: 7}, "speech": {cohort: "pai", nominal: 4, used: 1, borrows: new(int64)}}
	if all.free("vision") != 0 || all["vision"].borrowed() != 3 || all.lent("vision") != 0 || all.free("speech") != 3 || all.lent("speech") != 0 {
		t.Errorf("got %d free, %d borrowed, %d free of the other", all.free("vision"), all["vision"].borrowed(), all.free("speech"))
	}
}

// Both versions of the API of Kueue are read.
func TestQuotasAreReadFromBothVersions(t *testing.T) {
	t.Parallel()
	for version, cohort := range map[string]string{"v1beta1": "cohort", "v1beta2": "cohortName"} {
		all := map[string]quotas{}
		addQuotas(all, queueWith("vision", cohort, map[string]any{"name": "cpu", "nominalQuota": "8", "borrowingLimit": "500m"}, "9500m"))
		got := all["cpu"]["vision"]
		if got.cohort != "pai" || got.nominal != 8000 || got.used != 9500 || got.borrows == nil || *got.borrows != 500 || got.lends != nil {
			t.Errorf("%s: got %+v", version, got)
		}
	}
}

// queueWith is a queue of Kueue with one resource.
func queueWith(name, cohortField string, resource map[string]any, used string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ClusterQueue", "metadata": map[string]any{"name": name},
		"spec": map[string]any{cohortField: "pai", "resourceGroups": []any{map[string]any{"flavors": []any{map[string]any{"name": "default", "resources": []any{resource}}}}}},
		"status": map[string]any{"flavorsUsage": []any{map[string]any{"name": "default", "resources": []any{
			map[string]any{"name": resource["name"], "total": used}}}}},
	}}
}
