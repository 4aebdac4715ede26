//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	// plainAddresses are those of the machines that plainmachines.sh makes.
	plainAddresses = []string{"172.29.231.11", "172.29.231.12"}
	// plainSuites are the releases of Debian on them: the control plane runs on the newer one.
	plainSuites = []string{"trixie", "bookworm"}
	plainNames  = []string{"Debian GNU/Linux 13", "Debian GNU/Linux 12"}
)

// TestFirstHour goes the way of the README from bare machines to a running job, with
// two machines that PAI did not make: plain Debian 13 and 12, their own host keys, no
// login of root, and a user with sudo.
func TestFirstHour(t *testing.T) {
	inTestAll(t, "minutes on two more machines")
	o := newOperator(t, "first")
	o.buildBundle(newer)
	key, roots := plainMachines(t)
	dir := filepath.Join(t.TempDir(), "config")
	generate := append([]string{"config", "generate", "-p", dir, "--user", "alex", "--key", key}, plainAddresses...)

	o.part("unknown host keys are shown, and nothing is trusted without a word", func(o *operator) {
		err := o.refused(3, generate...)
		for i, root := range roots {
			shown := slices.ContainsFunc(fingerprints(o.t, root), func(f string) bool {
				return strings.Contains(err.Error(), plainAddresses[i]+"  ") && strings.Contains(err.Error(), f)
			})
			if !shown {
				o.t.Errorf("no fingerprint of %s is shown: %v", plainAddresses[i], err)
			}
		}
		if !strings.Contains(err.Error(), "--accept-host-keys") || !strings.Contains(err.Error(), "--known-hosts") {
			o.t.Errorf("the refusal does not say what to do: %v", err)
		}
		if _, err := os.Stat(dir); err == nil {
			o.t.Error("a configuration was written for machines that are not trusted")
		}
	})
	// The operator takes the keys from the machines themselves.
	known := filepath.Join(t.TempDir(), "known_hosts")
	var lines strings.Builder
	for i, root := range roots {
		for _, file := range hostKeys(t, root) {
			public, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&lines, "%s %s", plainAddresses[i], public)
		}
	}
	if err := os.WriteFile(known, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	o.run(2*time.Minute, append(generate, "--known-hosts", known)...)
	o.run(time.Minute, "config", "check", "-p", dir)
	o.part("the checks know the systems", func(o *operator) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "check", "-p", dir, "-o", "json") // there is no cluster yet
		var all []finding
		if json.Unmarshal([]byte(out), &all) != nil {
			o.t.Fatalf("%v\n%s", err, out)
		}
		for _, name := range plainNames {
			if !slices.ContainsFunc(all, func(f finding) bool {
				return f.ID == "machine-system" && f.Outcome == "ok" && strings.Contains(f.Found, name)
			}) {
				o.t.Errorf("%s is not known:\n%s", name, out)
			}
		}
	})
	o.run(15*time.Minute, "cluster", "k8s-bootup", "-p", dir, "--cluster-id", "pai", "--yes")
	o.run(15*time.Minute, "service", "start", "-p", dir, "--cluster-id", "pai", "--yes")
	o.run(time.Minute, "job", "submit", "examples/train.yaml")
	o.hasState("train", "RUNNING")
	o.eventually(time.Minute, "the log of the job has steps", func() (bool, string) {
		out, err := o.trySoon("job", "logs", "train")
		return err == nil && regexp.MustCompile(`(?m)^step `).MatchString(out), fmt.Sprint(out, err)
	})
	if out := o.run(time.Minute, "cluster", "status", "-p", dir); strings.Contains(out, "not ready") {
		t.Errorf("something is not ready:\n%s", out)
	}
	o.run(time.Minute, "job", "stop", "train")
	o.hasState("train", "STOPPED")
}

// plainMachines makes the machines and returns the key of the operator and the root
// directories of the machines.
func plainMachines(t *testing.T) (key string, roots []string) {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "pai-e2e-plain")
	script := func(limit time.Duration, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(repository(), "test/e2e/testdata/plainmachines.sh"), args...)
		cmd.WaitDelay = 5 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("plainmachines.sh %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	script(time.Minute, "down", dir) // what a killed run left
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { script(2*time.Minute, "down", dir) })
	for _, suite := range plainSuites {
		script(10*time.Minute, "base", dir, suite)
	}
	key = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	script(5*time.Minute, append([]string{"up", dir, key + ".pub"}, plainSuites...)...)
	for i, address := range plainAddresses {
		roots = append(roots, filepath.Join(dir, fmt.Sprintf("plain-%d", i+1)))
		deadline := time.Now().Add(2 * time.Minute)
		for {
			c, err := net.DialTimeout("tcp", address+":22", time.Second)
			if err == nil {
				c.Close()
				break
			}
			if time.Now().After(deadline) {
				log, _ := os.ReadFile(roots[i] + ".log")
				t.Fatalf("sshd of %s is not responding: %v\n%s", address, err, log)
			}
			time.Sleep(500 * time.Millisecond)
		}
	}
	return key, roots
}

// hostKeys are the files with the public host keys of a machine.
func hostKeys(t *testing.T, root string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "etc/ssh/ssh_host_*_key.pub"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got host keys %v, %v", files, err)
	}
	return files
}

// fingerprints are those of the host keys of a machine.
func fingerprints(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	for _, file := range hostKeys(t, root) {
		out, err := exec.Command("ssh-keygen", "-lf", file).Output()
		f := strings.Fields(string(out))
		if err != nil || len(f) < 2 {
			t.Fatalf("ssh-keygen -l: %v, %q", err, out)
		}
		all = append(all, f[1])
	}
	return all
}
