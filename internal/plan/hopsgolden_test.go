package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// Each file of testdata/hops is a support plan, then questions, each followed
// by its answer after "----". The answers are written by -update.
func TestHopsGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/hops/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/hops: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, filepath.Join("testdata", "hops", filepath.Base(file)), answer(t, string(data)))
		})
	}
}

// answer rewrites a file with the answers of today.
func answer(t *testing.T, text string) string {
	var out strings.Builder
	var rows []release.Manifest
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		question, _, _ := strings.Cut(block, "\n----")
		fmt.Fprintln(&out, question)
		for _, line := range strings.Split(question, "\n") {
			switch f := strings.Fields(line); {
			case len(f) == 0 || f[0] == "#":
			case f[0] == "release":
				rows = append(rows, row(f[1], f[4], f[6], f[7], f[9], f[11]))
			case f[0] == "from":
				fmt.Fprintf(&out, "----\n%s", ask(rows, f))
			default:
				t.Fatalf("cannot read %q", line)
			}
		}
	}
	return out.String()
}

func ask(rows []release.Manifest, f []string) string {
	target := Target{Release: pai.Release(f[4])}
	for _, flag := range f[5:] {
		target.KubernetesOnly = target.KubernetesOnly || flag == "--kubernetes"
		target.ServicesOnly = target.ServicesOnly || flag == "--services"
	}
	list, err := Offline(rows, pai.Pair{Services: pai.ServicesVersion(f[1]), Kubernetes: pai.KubernetesVersion(f[2])}, target)
	var e *pai.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("exit %d: %v\n  → %s\n", pai.ExitCode(err), err, e.Next)
	}
	if len(list.Hops) == 0 {
		return "nothing to do\n"
	}
	var b bytes.Buffer
	for _, n := range list.Notes {
		fmt.Fprintln(&b, "note:", n)
	}
	for _, h := range list.Hops {
		line, err := json.Marshal(h)
		if err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "%s\n", line)
	}
	return b.String()
}
