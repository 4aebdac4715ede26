package revision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// Store stores the revisions of one cluster.
type Store struct {
	files run.Store
	dir   string
}

// NewStore returns the revisions in the files of a control-plane machine.
func NewStore(files run.Store) *Store {
	return &Store{files: files, dir: path.Join(run.Dir, "revisions")}
}

// Newest is the revision with the highest number; nil if there is none.
func (s *Store) Newest(ctx context.Context) (*Revision, error) {
	numbers, err := s.numbers(ctx)
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	r, err := s.read(ctx, numbers[len(numbers)-1])
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// Get reads one revision.
func (s *Store) Get(ctx context.Context, number int) (Revision, error) {
	return s.read(ctx, number)
}

// List reads all revisions, oldest first.
func (s *Store) List(ctx context.Context) ([]Revision, error) {
	numbers, err := s.numbers(ctx)
	if err != nil {
		return nil, err
	}
	all := []Revision{}
	for _, n := range numbers {
		r, err := s.read(ctx, n)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Add makes the revision that follows number after, which is 0 for the first. If
// that revision already exists, the error wraps a ConflictError.
func (s *Store) Add(ctx context.Context, after int, by, why string, files map[string][]byte) (Revision, error) {
	if err := checkContent(files); err != nil {
		return Revision{}, err
	}
	r := Revision{Info{Number: after + 1, Time: time.Now().UTC().Truncate(time.Second), By: by, Why: firstLine(why)}, files}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return Revision{}, fmt.Errorf("encode revision %d: %w", r.Number, err)
	}
	// It can contain passwords.
	err = s.files.CreateFile(ctx, s.file(r.Number), data, 0o600)
	if errors.Is(err, fs.ErrExist) {
		other, err := s.read(ctx, r.Number)
		if err != nil {
			return Revision{}, err
		}
		return Revision{}, &pai.Error{Code: pai.CodeRefused, Err: &ConflictError{By: other.Info},
			Next: "pull the newest revision and make your change again; pull keeps your files beside the directory; run: paictl config pull"}
	}
	if err != nil {
		return Revision{}, fmt.Errorf("store revision %d: %w", r.Number, err)
	}
	return r, nil
}

// Prune removes old revisions. The newest ones stay, as many as limit says, and
// those that were applied last to a part, or to one of its recent versions. The
// caller holds the lock of the cluster.
func (s *Store) Prune(ctx context.Context, limit int) error {
	numbers, err := s.numbers(ctx)
	if err != nil || len(numbers) <= limit {
		return err
	}
	applied, err := s.Applied(ctx)
	if err != nil {
		return err
	}
	marks, err := s.marks(ctx)
	if err != nil {
		return err
	}
	stays := append(slices.Collect(maps.Values(applied)), latest(marks)...)
	for _, n := range numbers[:len(numbers)-limit] {
		if slices.Contains(stays, n) {
			continue
		}
		if err := s.files.Remove(ctx, s.file(n)); err != nil {
			return fmt.Errorf("remove revision %d: %w", n, err)
		}
	}
	return nil
}

// ConflictError is that another operator made the revision first.
type ConflictError struct{ By Info }

func (e *ConflictError) Error() string { return "another operator pushed first: " + e.By.String() }

func (s *Store) numbers(ctx context.Context) ([]int, error) {
	names, err := s.files.ReadDir(ctx, s.dir)
	if err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	var numbers []int
	for _, name := range names {
		text, ok := strings.CutSuffix(name, ".json")
		if n, err := strconv.Atoi(text); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (s *Store) file(number int) string { return path.Join(s.dir, fmt.Sprintf("%06d.json", number)) }

func (s *Store) read(ctx context.Context, number int) (Revision, error) {
	data, err := s.files.ReadFile(ctx, s.file(number))
	if errors.Is(err, fs.ErrNotExist) {
		return Revision{}, pai.Errorf(pai.CodeNotFound, "list the revisions; run: paictl config history", "revision %d not found", number)
	}
	if err != nil {
		return Revision{}, fmt.Errorf("read revision %d: %w", number, err)
	}
	var r Revision
	if err := json.Unmarshal(data, &r); err == nil && r.Number != number {
		return Revision{}, s.damaged(number, fmt.Errorf("it contains revision %d", r.Number))
	} else if err != nil {
		return Revision{}, s.damaged(number, err)
	}
	return r, nil
}

func (s *Store) damaged(number int, err error) error {
	return pai.Errorf(pai.CodeFailed, "check the file on the control-plane machine, and move it out of its directory",
		"%s is damaged: %w", s.file(number), err)
}
