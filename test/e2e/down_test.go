//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// traces is everything on this host that a local machine could leave behind:
// processes, mounts, network namespaces, links, control groups, and directories.
type traces map[string][]string

// takeTraces looks at the host. Only what can belong to PAI is kept of the
// processes, so that unrelated ones that come and go do not count.
func takeTraces(t *testing.T, state string) traces {
	t.Helper()
	seen := traces{
		"network namespaces": outputLines(t, "ip", "netns", "list"),
		"links":              linkNames(outputLines(t, "ip", "-o", "link")),
		"mounts":             fileLines(t, "/proc/self/mounts"),
		"control groups":     controlGroups(t),
		"routes":             outputLines(t, "ip", "-4", "route"),
		"packet filter":      outputLines(t, "sh", "-c", "nft list tables 2>/dev/null || true"),
	}
	for _, line := range outputLines(t, "ps", "-eo", "stat,args", "--no-headers") {
		status, line, _ := strings.Cut(line, " ")
		if strings.HasPrefix(status, "Z") {
			continue // dead; the host's first process has yet to reap it
		}
		if strings.Contains(line, state) || strings.Contains(line, "/opt/pai/") || strings.Contains(line, "nspawn") {
			seen["processes"] = append(seen["processes"], line)
		}
	}
	if entries, err := os.ReadDir(state); err == nil {
		for _, e := range entries {
			seen["directories"] = append(seen["directories"], filepath.Join(state, e.Name()))
		}
	}
	return seen
}

// linkNames keeps the names alone: indexes and counters change by themselves.
func linkNames(list []string) []string {
	var names []string
	for _, l := range list {
		if f := strings.Fields(l); len(f) > 1 {
			names = append(names, f[1])
		}
	}
	return names
}

func controlGroups(t *testing.T) []string {
	return outputLines(t, "find", "/sys/fs/cgroup", "-mindepth", "1", "-maxdepth", "4", "-type", "d")
}

func outputLines(t *testing.T, name string, args ...string) []string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func fileLines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// newSince lists what is in after and was not in before.
func (before traces) newSince(after traces) []string {
	var left []string
	for kind, lines := range after {
		for _, l := range lines {
			if l != "" && !slices.Contains(before[kind], l) && !before.isOfAnotherProgram(kind, l) {
				left = append(left, kind+": "+l)
			}
		}
	}
	slices.Sort(left)
	return left
}

// isOfAnotherProgram reports whether a control group is inside one that existed before. PAI
// makes its groups directly below the mount points.
func (before traces) isOfAnotherProgram(kind, line string) bool {
	parent := filepath.Dir(line)
	mounted := slices.ContainsFunc(before["mounts"], func(m string) bool { return strings.Contains(m, " "+parent+" ") })
	return kind == "control groups" && !mounted && slices.Contains(before[kind], parent)
}

// TestDownLeavesNothing makes PAI with a job on it, kills half of it the hard
// way, and takes it down. Nothing may be left but the cache.
func TestDownLeavesNothing(t *testing.T) {
	o := newOperator(t, "down")
	before := takeTraces(t, o.state)
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	o.submit("examples/train.yaml", 2)
	if during := before.newSince(takeTraces(t, o.state)); len(during) < 5 {
		t.Fatalf("this test looks at the wrong things: with PAI up it sees only %v", during)
	}
	o.run(2*time.Minute, "down", "--yes")
	if left := before.newSince(takeTraces(t, o.state)); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}
