package guard

import (
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Reach is the machines whose containers something can end.
type Reach struct {
	// Everywhere is true if it can end containers on any machine.
	Everywhere bool `json:"everywhere,omitempty"`
	// Machine is the only machine otherwise; empty for none.
	Machine string `json:"machine,omitempty"`
}

// Reach returns whose containers a step can end without a trace: with an exit code
// that the process itself can have chosen. The witness needs it before it reports
// that a container ended by itself.
//
// A step with the risk of a node or an eviction reaches its machine, and one on
// the data path reaches every container. A step with the risk of the API or with
// none reaches nothing: what it does to a container goes through the API or the
// kubelet, which leave a deletion, a disruption, or a kill to be read. There are
// three exceptions. A restored etcd no longer has the pods that started since its
// snapshot, so that kubelets end them without a deletion. A new network or
// service proxy changes routes, and the connections of the containers of its
// machine depend on them. A clean ends all that runs on its machine. A drain has the
// risk of a node, but it only evicts: a job that ends by itself meanwhile did so.
func (g *Guard) Reach(step plan.Step) Reach { return reach(step, Risk(step, g.impacts)) }

func reach(step plan.Step, risk pai.Risk) Reach {
	routes := step.Kind == plan.KindRole && (step.Role == plan.RoleNetwork || step.Role == plan.RoleKubeProxy)
	onMachine := risk == pai.RiskNode || risk == pai.RiskEviction || routes || step.Kind == plan.KindClean
	switch {
	case step.Kind == plan.KindRestore:
		return Reach{Everywhere: true}
	case step.Kind == plan.KindDrain:
		return Reach{}
	case onMachine && step.Target != "":
		return Reach{Machine: step.Target}
	case !onMachine && (risk == pai.RiskNone || risk == pai.RiskAPI):
		return Reach{}
	default: // also a risk that this program does not know
		return Reach{Everywhere: true}
	}
}
