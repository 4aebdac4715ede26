package revision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
)

// mark is one record that a revision was applied to all of a part. A rollback to a
// version finds the revision that was applied with it.
type mark struct {
	Time     time.Time      `json:"time,omitzero"` // zero if unknown: before there were marks
	Part     Part           `json:"part"`
	Version  pai.AnyVersion `json:"version"` // of the part
	Revision int            `json:"revision"`
}

// maxMarks bounds the file.
const maxMarks = 100

// AppliedWith is the revision that was applied last to all of a part while the part
// had a version, or any if it is empty, not after a time unless it is zero; 0 if unknown.
func (s *Store) AppliedWith(ctx context.Context, part Part, version pai.AnyVersion, until time.Time) (int, error) {
	marks, err := s.marks(ctx)
	if err != nil {
		return 0, err
	}
	number := 0
	for _, m := range marks {
		if m.Part == part && (m.Version == version || version == "") && (until.IsZero() || !m.Time.After(until)) {
			number = m.Revision
		}
	}
	return number, nil
}

// NoteVersions notes the versions of the applied revisions, for parts that have no
// mark yet: an older paictl does not write marks. recorded are the versions that the
// cluster recorded last. The caller holds the lock of the cluster.
func (s *Store) NoteVersions(ctx context.Context, recorded pai.Pair) error {
	applied, err := s.Applied(ctx)
	if err != nil {
		return err
	}
	marks, err := s.marks(ctx)
	if err != nil {
		return err
	}
	var added []mark
	for _, p := range []Part{Kubernetes, Services} {
		have := slices.ContainsFunc(marks, func(m mark) bool { return m.Part == p })
		if v := versionOf(p, recorded); applied[p] > 0 && v != "" && !have {
			added = append(added, mark{Part: p, Version: v, Revision: applied[p]})
		}
	}
	return s.addMarks(ctx, added)
}

func (s *Store) addMarks(ctx context.Context, added []mark) error {
	if len(added) == 0 {
		return nil
	}
	marks, err := s.marks(ctx)
	if err != nil {
		return err
	}
	marks = append(marks, added...)
	data, err := json.Marshal(marks[max(0, len(marks)-maxMarks):])
	if err != nil {
		return fmt.Errorf("encode the history of applied revisions: %w", err)
	}
	if err := s.files.WriteFile(ctx, s.marksFile(), data, 0o600); err != nil {
		return fmt.Errorf("write the history of applied revisions: %w", err)
	}
	return nil
}

func versionOf(p Part, pair pai.Pair) pai.AnyVersion {
	if p == Kubernetes {
		return pai.AnyVersion(pair.Kubernetes)
	}
	return pai.AnyVersion(pair.Services)
}

func (s *Store) marks(ctx context.Context) ([]mark, error) {
	data, err := s.files.ReadFile(ctx, s.marksFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the history of applied revisions: %w", err)
	}
	var marks []mark
	if err := json.Unmarshal(data, &marks); err != nil {
		return nil, pai.Errorf(pai.CodeFailed, "remove the file on the control-plane machine; the next operation writes it again",
			"%s is damaged: %w", s.marksFile(), err)
	}
	return marks, nil
}

func (s *Store) marksFile() string { return path.Join(s.dir, "applied-history") }

// latest are the revisions that a rollback to a recorded version finds.
func latest(marks []mark) []int {
	type key struct {
		part    Part
		version pai.AnyVersion
	}
	last := map[key]int{}
	for _, m := range marks {
		last[key{m.Part, m.Version}] = m.Revision
	}
	var numbers []int
	for _, n := range last {
		numbers = append(numbers, n)
	}
	return numbers
}
