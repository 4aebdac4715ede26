package pai_test

import (
	"errors"
	"fmt"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestDetailsStayOutOfTheText(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	inner := pai.WithDetails(pai.Errorf(pai.CodeNotFound, "look there", "not found: %w", lost), "journal a:\n    one\n    two")
	outer := pai.WithDetails(fmt.Errorf("restart: %w", inner), "journal b:\n    three")
	for _, c := range []struct {
		name          string
		err           error
		text, details string
		code          pai.Code
	}{
		{"without an error", pai.WithDetails(nil, "journal"), "", "", pai.CodeFailed},
		{"without details", pai.WithDetails(lost, ""), "lost", "", pai.CodeFailed},
		{"plain error", pai.WithDetails(lost, "journal"), "lost", "journal", pai.CodeFailed},
		{"error with a code", inner, "not found: lost", "journal a:\n    one\n    two", pai.CodeNotFound},
		{"two levels, causes first", outer, "restart: not found: lost", "journal a:\n    one\n    two\njournal b:\n    three", pai.CodeNotFound},
		{"joined, each once", errors.Join(lost, outer, inner), "lost\nrestart: not found: lost\nnot found: lost", "journal a:\n    one\n    two\njournal b:\n    three", pai.CodeNotFound},
	} {
		if c.err == nil {
			if details := pai.DetailsOf(c.err); details != "" {
				t.Errorf("%s: got details %q, want none", c.name, details)
			}
			continue
		}
		if c.err.Error() != c.text || pai.DetailsOf(c.err) != c.details || pai.CodeOf(c.err) != c.code || !errors.Is(c.err, lost) {
			t.Errorf("%s: got %q, details %q, code %s; want %q, %q, %s", c.name, c.err, pai.DetailsOf(c.err), pai.CodeOf(c.err), c.text, c.details, c.code)
		}
	}
	var e *pai.Error
	if !errors.As(outer, &e) || e.Next != "look there" {
		t.Errorf("got hint %q, want that of the cause", e.Next)
	}
}
