package session

import (
	"context"
	"slices"

	"pai.dev/pai/internal/pai"
)

// History lists the operations with one of the verbs, or all if none is named,
// oldest first.
func (s *Session) History(ctx context.Context, verbs ...pai.Verb) ([]pai.Operation, error) {
	journal, err := s.Journal()
	if err != nil {
		return nil, err
	}
	all, err := journal.List(ctx)
	if err != nil {
		return nil, err
	}
	chosen := []pai.Operation{}
	for _, op := range all {
		if len(verbs) == 0 || slices.Contains(verbs, op.Verb) {
			chosen = append(chosen, op)
		}
	}
	return chosen, nil
}
