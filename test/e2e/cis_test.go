//go:build e2e

package e2e

import (
	"os"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/cis"
)

// cisFiles compares modes and owners on the control-plane machine with docs/cis.md. One of
// the two slots has no role between handovers.
func (o *operator) cisFiles() {
	data, err := os.ReadFile("../../docs/cis.md")
	if err != nil {
		o.t.Fatal(err)
	}
	rows, err := cis.Rows(string(data))
	if err != nil {
		o.t.Fatal(err)
	}
	oneSlot := func(path string) bool {
		return strings.HasPrefix(path, layout.RoleLink(layout.SlotA.APIServer)+"/") || strings.HasPrefix(path, layout.RoleLink(layout.SlotA.Etcd)+"/")
	}
	for _, problem := range cis.Problems(rows, o.on("pai-1", cis.Script(rows)), oneSlot) {
		o.t.Error(problem)
	}
}
