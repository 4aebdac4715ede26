package main

import (
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestAddedSeconds(t *testing.T) {
	t.Parallel()
	got := addedSeconds([]pai.StepRecord{{ID: "a", Seconds: 5}, {ID: "b", Seconds: 1}}, []pai.StepRecord{{ID: "a", Seconds: 6}, {ID: "b", Seconds: 4}, {ID: "x/c", Seconds: 2}})
	if text, want := secondsOf(got), "b 3.0 s, c 2.0 s, a 1.0 s"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}
