package plan

// Prune leaves out the steps whose target state was seen to be there. Steps
// that waited for one of them wait instead for what that one waited for.
func (p Plan) Prune(done map[StepID]bool) Plan {
	var d stepGraph
	for _, s := range p.Steps {
		after := s.After
		d.add(!done[s.ID], s, after...)
	}
	p.Steps = d.reduce()
	return p
}
