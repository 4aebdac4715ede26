package configsync

import (
	"context"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

// Row is one revision as the history shows it.
type Row struct {
	revision.Info
	// AppliedTo are the parts that are at this revision.
	AppliedTo []revision.Part `json:"appliedTo"`
	// Operations are those that applied it, oldest first.
	Operations []UsedBy `json:"operations"`
}

// UsedBy is an operation that applied a revision.
type UsedBy struct {
	ID      string      `json:"id"`
	Verb    pai.Verb    `json:"verb"`
	Outcome pai.Outcome `json:"outcome"`
}

// History lists the revisions of the configuration, oldest first.
func History(ctx context.Context, s *session.Session) ([]Row, error) {
	store, err := s.Revisions()
	if err != nil {
		return nil, err
	}
	all, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	applied, err := store.Applied(ctx)
	if err != nil {
		return nil, err
	}
	operations, err := s.History(ctx)
	if err != nil {
		return nil, err
	}
	return rows(all, applied, operations), nil
}

func rows(all []revision.Revision, applied revision.Applied, operations []pai.Operation) []Row {
	rows := []Row{}
	for _, r := range all {
		row := Row{Info: r.Info, AppliedTo: []revision.Part{}, Operations: []UsedBy{}}
		for part, n := range applied {
			if n == r.Number {
				row.AppliedTo = append(row.AppliedTo, part)
			}
		}
		slices.Sort(row.AppliedTo)
		for _, op := range operations {
			if op.Revision == r.Number {
				row.Operations = append(row.Operations, UsedBy{op.ID, op.Verb, op.Outcome})
			}
		}
		rows = append(rows, row)
	}
	return rows
}
