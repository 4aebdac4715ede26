package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSyncTreeSyncsEachFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := []string{"--", dir + "/data", dir + "/data/*", dir + "/data/a file", dir + "/data/member", dir + "/data/member/db"}
	if err := os.MkdirAll(dir+"/data/member", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"*", "a file", "member/db"} {
		if err := os.WriteFile(filepath.Join(dir, "data", file), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(stub, dir string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "sh", "-euc", stub+"\n"+syncTree(dir)+"\necho end").Output()
		return string(out), err
	}
	out, err := run(`sync() { printf '%s\n' "$@"; }`, dir+"/data")
	got := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(got)
	if want = append(want, "end"); err != nil || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if out, err := run("", dir+"/data"); err != nil || out != "end\n" {
		t.Errorf("got %q, %v with the program sync, want only the end", out, err)
	}
	for stub, dir := range map[string]string{"sync() { return 1; }": dir + "/data", ":": dir + "/missing"} {
		if out, err := run(stub, dir); err == nil || out != "" {
			t.Errorf("%s: got %q, want an error", stub, out)
		}
	}
}
