package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTrainingLearns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "moons.csv")
	var out bytes.Buffer
	for range 2 {
		if err := run(t.Context(), []string{"data", data}, &out); err != nil {
			t.Fatal(err)
		}
	}
	if want := "wrote 2000 rows to " + data + "\n" + data + " exists\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	rows, err := readData(data)
	if err != nil || len(rows) != madeRows {
		t.Fatalf("got %d rows, %v", len(rows), err)
	}
	s := newState()
	before, _ := s.Model.quality(rows)
	out.Reset()
	o := options{data: data, checkpoint: filepath.Join(dir, "model.json"), steps: 1000, every: 500}
	if err := train(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	if s, err = load(o.checkpoint); err != nil || s.Step != 1000 {
		t.Fatalf("got step %d, %v", s.Step, err)
	}
	after, accuracy := s.Model.quality(rows)
	if after > before/4 || after > 0.15 || accuracy < 0.94 {
		t.Errorf("the loss went from %.3f to %.3f, and %.3f are right: nothing was learned", before, after, accuracy)
	}
	if !strings.Contains(out.String(), "step 500 loss ") || !strings.HasSuffix(out.String(), "done after 1000 steps\n") {
		t.Errorf("printed\n%s", out.String())
	}
}

// A training in several runs computes what one run computes, to the last bit.
func TestRunsContinueProperty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rows := moons(50)
	data := filepath.Join(dir, "data.csv")
	if err := writeData(data, rows); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		checkpoint := filepath.Join(dir, "model.json")
		if err := os.RemoveAll(checkpoint); err != nil {
			t.Fatal(err)
		}
		want := newState()
		total := 0
		for _, n := range rapid.SliceOfN(rapid.IntRange(1, 20), 1, 5).Draw(t, "runs") {
			total += n
			if err := train(context.Background(), options{data: data, checkpoint: checkpoint, steps: total, every: 7}, &bytes.Buffer{}); err != nil {
				t.Fatal(err)
			}
		}
		for range total {
			want.learn(rows)
		}
		if got, err := load(checkpoint); err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestStoppedTrainingKeepsItsStep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, checkpoint := filepath.Join(dir, "data.csv"), filepath.Join(dir, "model.json")
	if err := writeData(data, moons(10)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if err := train(ctx, options{data: data, checkpoint: checkpoint, steps: 1 << 40, every: 1 << 40, interval: time.Millisecond}, &out); err != nil {
		t.Fatal(err)
	}
	if s, err := load(checkpoint); err != nil || s.Step == 0 || !strings.Contains(out.String(), "stopped at step ") {
		t.Errorf("got step %d, %v, and printed\n%s", s.Step, err, out.String())
	}
}

func TestBrokenFilesAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, text := range []string{"", "\n", "1,2\n", "1,2,3\n", "1,2,0,4\n", "NaN,2,0\n", "1e300,2,0\n", "a,2,0\n", "1,2,0\n1,2\n", strings.Repeat("1", 1<<17) + "\n"} {
		if rows, err := readData(write("data.csv", text)); err == nil {
			t.Errorf("data %.20q: got %v, want an error", text, rows)
		}
	}
	for _, text := range []string{"", "many", `{"step":-1}`, `{"step":"x"}`, strings.Repeat(" ", maxCheckpoint+1)} {
		if s, err := load(write("model.json", text)); err == nil {
			t.Errorf("checkpoint %.20q: got %+v, want an error", text, s)
		}
	}
	if _, err := load(dir); err == nil {
		t.Error("a directory was read as a checkpoint")
	}
	if _, err := readData(dir); err == nil {
		t.Error("a directory was read as data")
	}
	if s, err := load(filepath.Join(dir, "absent")); err != nil || s != newState() {
		t.Errorf("without a checkpoint: got %+v, %v, want the beginning", s, err)
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil, {"data"}, {"train"}, {"train", "--data", "x"}, {"train", "--data", "x", "--checkpoint", "y", "more"},
		{"train", "--data", "x", "--checkpoint", "y", "--steps", "0"}, {"other"},
	} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
