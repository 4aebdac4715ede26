package operation

import (
	"fmt"
	"os"
	"testing"

	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// PAI does not uncordon a machine that is only marked.
func TestDropUnrecordedCordons(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(t, &field{by: map[string]string{}})
	if err := a.cordon(t.Context(), "ours"); err != nil {
		t.Fatal(err)
	}
	store := runtest.Dir(t.TempDir())
	journal := run.NewJournal(store)
	entry, err := journal.Begin(t.Context(), a.entry.Operation())
	if err != nil {
		t.Fatal(err)
	}
	id := entry.Operation().ID
	marked := func(by string) *plan.Node {
		return &plan.Node{Unschedulable: true, CordonedByPAI: true, CordonedBy: by}
	}
	w := plan.World{Machines: []plan.MachineState{{Name: "ours", Node: marked(id)}, {Name: "copied", Node: marked(id)},
		{Name: "invented", Node: marked("20200101T000000.000Z")}, {Name: "not an operation", Node: marked("me")}, {Name: "removed"}}}
	var lines []string
	if err := dropUnrecordedCordons(t.Context(), journal, &w, func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.Machines {
		if m.Node != nil && (m.Node.CordonedByPAI != (m.Name == "ours") || !m.Node.Unschedulable) {
			t.Errorf("%s: got %+v", m.Name, m.Node)
		}
	}
	if len(lines) != 3 {
		t.Errorf("got lines %q, want one for each machine that stays cordoned", lines)
	}
	if err := os.WriteFile(store.At("/var/lib/pai/operations/"+id+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Machines[0].Node = marked(id)
	if err := dropUnrecordedCordons(t.Context(), journal, &w, func(string, ...any) {}); err == nil {
		t.Error("got no error from a journal that cannot be read")
	}
}
