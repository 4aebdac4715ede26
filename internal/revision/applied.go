package revision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"pai.dev/pai/internal/pai"
)

// Part is what a configuration is applied to: each on its own.
type Part string

// The parts.
const (
	Kubernetes Part = "kubernetes" // the machines
	Services   Part = "services"
)

// Applied is the revision that each part was brought to last, as a whole. A
// part that is not in it was never brought to one, or went back behind it.
type Applied map[Part]int

// Applied reads what was applied last.
func (s *Store) Applied(ctx context.Context) (Applied, error) {
	data, err := s.files.ReadFile(ctx, s.appliedFile())
	if errors.Is(err, fs.ErrNotExist) {
		return Applied{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which revisions were applied: %w", err)
	}
	a := Applied{}
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, pai.Errorf(pai.CodeFailed, "remove the file on the control-plane machine; the next operation writes it anew",
			"%s is damaged: %w", s.appliedFile(), err)
	}
	return a, nil
}

// MarkApplied records that parts were brought to a revision; number 0 takes
// the mark away. Whoever calls it holds the cluster's lock.
func (s *Store) MarkApplied(ctx context.Context, number int, parts ...Part) error {
	if len(parts) == 0 {
		return nil
	}
	a, err := s.Applied(ctx)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if a[p] = number; number == 0 {
			delete(a, p)
		}
	}
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode which revisions were applied: %w", err)
	}
	if err := s.files.WriteFile(ctx, s.appliedFile(), data, 0o600); err != nil {
		return fmt.Errorf("record that revision %d was applied: %w", number, err)
	}
	return nil
}

func (s *Store) appliedFile() string { return path.Join(s.dir, "applied") }
