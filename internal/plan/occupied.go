package plan

import (
	"strings"

	"pai.dev/pai/internal/pai"
)

// OccupiedMachine is a machine that runs something for another cluster, or for one
// whose control plane was lost.
type OccupiedMachine struct {
	Name string
	Has  string // what runs there
}

// refuseOccupied refuses to boot machines that run something for another cluster: a
// kubelet that joins a cluster ends each container that the cluster does not know.
func (in Input) refuseOccupied() error {
	if len(in.Occupied) == 0 {
		return nil
	}
	var names []string
	for _, m := range in.Occupied {
		names = append(names, m.Name+" has "+m.Has)
	}
	found := strings.Join(names, "; ")
	if in.World.Current.Kubernetes != "" {
		return pai.Errorf(pai.CodeRefused, "remove these machines from layout.yaml, or clean them with the configuration of their cluster",
			"machines run for another cluster, and a boot would end what runs there: %s", found)
	}
	return pai.Errorf(pai.CodeRefused, "if the control plane was lost, restore it from a backup, and the jobs keep running; run: paictl cluster restore; "+
		"if the machines are to make a new cluster, remove the old one with its jobs; run: paictl cluster k8s-clean --delete-data",
		"machines run for a cluster that the control-plane machine does not have, and a boot would end what runs there: %s", found)
}
