package plan

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/pai"
)

// A node gets the kind of its machine as soon as its API server is up, whatever runs
// there. A kind that a node has is replaced only while no job runs on the machine: a task
// chose the machine by it, and a kubelet that starts ends pods that no longer fit its node.

// labels adds the step that brings the kind of a machine to its node.
func (k *kubernetes) labels(m MachineState, barrier []StepID) {
	s := Step{ID: k.id(m, "labels"), Kind: KindLabels, Target: m.Name, To: pai.AnyVersion(k.version(m)), Risk: pai.RiskNone}
	if m.losesKind() {
		s.Risk = k.nodeRisk(m)
	}
	k.graph.add(k.planned(m) && (m.needsKind() && !m.losesKind() || k.replacesKind(m)), s, barrier...)
}

// needsKind reports whether a node has another kind than its machine. A node that does not
// exist yet is created with its kind.
func (m MachineState) needsKind() bool { return m.Node != nil && m.Node.Kind != m.Kind }

// losesKind reports whether the node has a kind that its machine no longer has.
func (m MachineState) losesKind() bool {
	return m.Node != nil && m.Node.Kind.SKU != "" && m.Node.Kind.SKU != m.Kind.SKU
}

// replacesKind reports whether the kind of a node is replaced now.
func (k *kubernetes) replacesKind(m MachineState) bool {
	return m.losesKind() && k.world.idle(m.Name)
}

// noteKinds adds a note with the machines whose jobs keep their kind.
func (in Input) noteKinds(p *Plan) {
	var waiting []string
	for _, m := range in.World.Machines {
		if m.losesKind() && !in.World.idle(m.Name) {
			waiting = append(waiting, m.Name)
		}
	}
	if len(waiting) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("jobs run on %s, so these machines keep the machine-sku that jobs found there; "+
			"when their jobs have ended, run: paictl cluster k8s-bootup", strings.Join(waiting, ", ")))
	}
}
