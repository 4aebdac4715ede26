package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"

	"pai.dev/pai/internal/pai"
)

// LockFile is the path of the lock with a number. Its holder writes it with
// each heartbeat.
func LockFile(number int) string { return path.Join(Dir, "lock", fmt.Sprintf("%09d", number)) }

// Current returns the number of the lock and its holder; nil if it is free. Of several
// machines, the error wraps ErrStale if less than a majority answered.
func Current(ctx context.Context, s Store) (number int, holder *Holder, err error) {
	if q, several := s.(*Quorum); several {
		return q.current(ctx)
	}
	return current(ctx, s)
}

func current(ctx context.Context, s Store) (number int, holder *Holder, err error) {
	number, h, err := latest(ctx, s)
	if err != nil || number == 0 || h.Released {
		return number, nil, err
	}
	return number, &h, nil
}

// latest returns the number of the lock and its last holder; 0 if there was none.
func latest(ctx context.Context, s Store) (number int, h Holder, err error) {
	if q, several := s.(*Quorum); several {
		return q.latest(ctx)
	}
	numbers, err := lockNumbers(ctx, s)
	if err != nil || len(numbers) == 0 {
		return 0, Holder{}, err
	}
	number = numbers[len(numbers)-1]
	h, err = readHolder(ctx, s, number)
	for i := len(numbers) - 2; i >= 0 && err == nil && h.Withdrawn; i-- {
		h, err = readHolder(ctx, s, numbers[i])
	}
	if errors.Is(err, fs.ErrNotExist) { // a newer one exists since
		return latest(ctx, s)
	}
	return number, h, err
}

// lockNumbers lists the lock files, lowest number first. It ignores temporary
// files of the store.
func lockNumbers(ctx context.Context, s Store) ([]int, error) {
	names, err := s.ReadDir(ctx, path.Join(Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("list lock files: %w", err)
	}
	return numbersIn(names), nil
}

func numbersIn(names []string) (numbers []int) {
	for _, name := range names { // sorted, and all of one length
		if n, err := strconv.Atoi(name); err == nil && len(name) == 9 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func readHolder(ctx context.Context, s Store, number int) (Holder, error) {
	data, err := s.ReadFile(ctx, LockFile(number))
	if err != nil {
		return Holder{}, fmt.Errorf("read lock: %w", err)
	}
	h, err := decodeHolder(data)
	if err != nil {
		return Holder{}, pai.Errorf(pai.CodeFailed, "check the file on the control-plane machine; if no operation is in progress, remove it",
			"lock file %s is damaged: %w", LockFile(number), err)
	}
	return h, nil
}
