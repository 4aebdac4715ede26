package plan

// WithoutReady leaves out the steps of services that became ready since the plan was
// made, and names them: a service of the wanted release was not ready, and the current
// steps have none for it. Pods become ready by themselves while an operator reads the
// plan, for example after a restore.
func (p Plan) WithoutReady(current []Step) (Plan, []string) {
	now := byID(current)
	ready := map[StepID]bool{}
	var names []string
	for _, s := range p.Steps {
		if _, needed := now[s.ID]; needed || s.Kind != KindService || s.From != s.To || len(s.Differs) > 0 {
			continue
		}
		ready[s.ID] = true
		names = append(names, s.Target)
	}
	return p.Prune(ready), names
}
