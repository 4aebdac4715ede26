package revision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"pai.dev/pai/internal/pai"
)

// Part is a part of the cluster that a configuration is applied to.
type Part string

// The parts.
const (
	Kubernetes Part = "kubernetes" // the machines
	Services   Part = "services"
)

// Applied is the last revision that was applied to all of each part. It lacks a
// part without such a revision, and one that was rolled back to an unknown one.
type Applied map[Part]int

// Applied reads what was applied last.
func (s *Store) Applied(ctx context.Context) (Applied, error) {
	data, err := s.files.ReadFile(ctx, s.appliedFile())
	if errors.Is(err, fs.ErrNotExist) {
		return Applied{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read applied revisions: %w", err)
	}
	a := Applied{}
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, pai.Errorf(pai.CodeFailed, "remove the file on the control-plane machine; the next operation writes it again",
			"%s is damaged: %w", s.appliedFile(), err)
	}
	return a, nil
}

// MarkApplied records that a revision was applied to parts, which now have the
// versions in pair; number 0 removes the record. The caller holds the lock of the
// cluster.
func (s *Store) MarkApplied(ctx context.Context, number int, pair pai.Pair, parts ...Part) error {
	if len(parts) == 0 {
		return nil
	}
	a, err := s.Applied(ctx)
	if err != nil {
		return err
	}
	var added []mark
	for _, p := range parts {
		if v := versionOf(p, pair); number > 0 && v != "" {
			added = append(added, mark{Time: time.Now().UTC(), Part: p, Version: v, Revision: number})
		}
		if a[p] = number; number == 0 {
			delete(a, p)
		}
	}
	if err := s.addMarks(ctx, added); err != nil {
		return err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode applied revisions: %w", err)
	}
	if err := s.files.WriteFile(ctx, s.appliedFile(), data, 0o600); err != nil {
		return fmt.Errorf("record applied revision %d: %w", number, err)
	}
	return nil
}

func (s *Store) appliedFile() string { return path.Join(s.dir, "applied") }
