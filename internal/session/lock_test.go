package session

import (
	"errors"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestJoinDistinctPrintsEachErrorOnce(t *testing.T) {
	full := errors.New("write the journal: no space left on device")
	stopped := pai.Errorf(pai.CodeLocked, "run the same command again", "stopped: %w", full)
	err := JoinDistinct(nil, stopped, full, errors.New("and something else"), full)
	if got, want := err.Error(), "stopped: write the journal: no space left on device\nand something else"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if pai.CodeOf(err) != pai.CodeLocked {
		t.Errorf("got code %v, want %v", pai.CodeOf(err), pai.CodeLocked)
	}
	if err := JoinDistinct(nil, nil); err != nil {
		t.Error(err)
	}
}
