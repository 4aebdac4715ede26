package job

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
)

func TestQueuedIsWhatWaitsForKueue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		suspended bool
		stopped   string
		condition []string
		want      bool
	}{
		"in the queue":       {true, "", []string{string(jobset.JobSetSuspended)}, true},
		"not seen by Kueue":  {true, "", nil, true},
		"runs":               {false, "", nil, false},
		"stopped in queue":   {true, "now", nil, false},
		"failed when queued": {true, "", []string{string(jobset.JobSetFailed)}, false},
	} {
		r, err := ReadRecord(jobSetOf(t, c.suspended, c.stopped, c.condition...))
		if err != nil || r.Queued() != c.want {
			t.Errorf("%s: got %t, %v, want %t", name, r.Queued(), err, c.want)
		}
	}
}

func TestOrderInTheQueue(t *testing.T) {
	t.Parallel()
	of := func(priority string, minute int, uid string) Record {
		var r Record
		r.set.Labels, r.set.UID = map[string]string{LabelPriority: PriorityClass(priority)}, types.UID(uid)
		r.set.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC))
		return r
	}
	want := []Record{of("crit", 9, "a"), of("prod", 8, "b"), of("test", 1, "c"), of("", 2, "d"), of("test", 2, "e"), of("", 3, "f"), of("oppo", 0, "g")}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, CompareInQueue)
	for i := range want {
		if got[i].UID() != want[i].UID() {
			t.Fatalf("place %d has %s, want %s", i, got[i].UID(), want[i].UID())
		}
	}
}

// The order of a list is that of Kueue: the values are those of its classes.
func TestPriorityValuesAreThoseOfKueue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../services/kueue/objects.yaml.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)WorkloadPriorityClass\nmetadata:\n  name: pai-(\w+)\n.*?\nvalue: (-?\d+)`).FindAllStringSubmatch(string(text), -1)
	if len(found) != len(priorities) {
		t.Fatalf("got %d classes, want %d", len(found), len(priorities))
	}
	for _, class := range found {
		if want, err := strconv.Atoi(class[2]); err != nil || priorityValue(class[1]) != want {
			t.Errorf("%s: got %d, want %s", class[1], priorityValue(class[1]), class[2])
		}
	}
}
