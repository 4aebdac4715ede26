package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTrainResumesFromCheckpoint(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "step")
	o := options{steps: 3, interval: time.Millisecond, checkpoint: file}
	var first bytes.Buffer
	if err := train(context.Background(), o, &first); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(first.String(), "loss"); got != 3 {
		t.Errorf("first run printed %d steps, want 3:\n%s", got, first.String())
	}
	o.steps = 5
	var second bytes.Buffer
	if err := train(context.Background(), o, &second); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"resumed from step 3", "step 4 ", "step 5 ", "done after 5 steps"} {
		if !strings.Contains(second.String(), want) {
			t.Errorf("second run lacks %q:\n%s", want, second.String())
		}
	}
	if strings.Contains(second.String(), "step 3 loss") {
		t.Errorf("second run repeats step 3:\n%s", second.String())
	}
}

func TestTrainStopsOnSignal(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out bytes.Buffer
	if err := train(ctx, options{interval: time.Hour}, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "stopped at step 0\n" {
		t.Errorf("printed %q", got)
	}
}

func TestTrainRefusesABrokenCheckpoint(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "step")
	if err := os.WriteFile(file, []byte("many"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := train(context.Background(), options{steps: 1, interval: time.Millisecond, checkpoint: file}, &bytes.Buffer{}); err == nil {
		t.Error("a checkpoint that is no number was accepted")
	}
}
