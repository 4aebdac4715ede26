package job

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const twoRoles = good + `  ps_1:
    dockerImage: image
    resourcePerInstance: {cpu: 0.5, memoryMB: 64, gpu: 0, ports: {grpc: 2}}
    commands: [serve]
`

func parsed(t *testing.T, text string) *Spec {
	t.Helper()
	spec, _, err := Parse([]byte(text), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// shells are those of this host that images have.
func shells() (all [][]string) {
	for _, s := range [][]string{{"sh"}, {"dash"}, {"bash"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(s[0]); err == nil {
			all = append(all, s)
		}
	}
	return all
}

// environmentOf runs the environment of a task as the launcher does, with a made-up
// resolver, and returns its variables.
func environmentOf(t *testing.T, shell []string, spec *Spec, role, index, resolver string, more ...string) (map[string]string, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"getent": resolver, "sleep": "exit 0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, environmentFile)
	if err := os.WriteFile(file, []byte(strings.Replace(spec.addresses("alice-train-x"), "pai_left='600'", "pai_left='5'", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it waits for others, but not without end
	defer cancel()
	cmd := exec.CommandContext(ctx, shell[0], append(shell[1:], "-c", `. "$0"; env`, file)...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "PAI_CURRENT_TASK_ROLE_NAME=" + role, "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX=" + index,
		"PAI_CONTAINER_HOST_IP=10.0.0.9", "PAI_USER_NAME=alice", "PAI_JOB_NAME=train"}, more...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", shell, err, out, errs.String())
	}
	env := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		env[name] = value
	}
	return env, errs.String()
}

// Each task knows the addresses and ports of all tasks under the names of the protocol, in
// every shell.
func TestTasksKnowAllAddresses(t *testing.T) {
	t.Parallel()
	spec := parsed(t, twoRoles)
	// The address appears at the second look.
	const resolver = `case $2 in *-worker-0-0.alice-train-x*) ip=10.0.0.1 ;; *-worker-0-1.*) ip=10.0.0.2 ;; esac
if [ -e "$0.$2" ]; then echo "$ip $2"; else : >"$0.$2"; exit 2; fi`
	for _, shell := range shells() {
		env, errs := environmentOf(t, shell, spec, "ps_1", "0", resolver)
		for name, want := range map[string]string{
			"PAI_HOST_IP_worker_0": "10.0.0.1", "PAI_HOST_IP_worker_1": "10.0.0.2", "PAI_HOST_IP_ps_1_0": "10.0.0.9",
			"PAI_PORT_LIST_worker_1_http": "20001", "PAI_PORT_LIST_ps_1_0_grpc": "20004,20005", "PAI_ps_1_0_grpc_PORT": "20004,20005",
			"PAI_TASK_ROLE_worker_HOST_LIST": "10.0.0.1:20001,10.0.0.2:20001", "PAI_TASK_ROLE_ps_1_HOST_LIST": "10.0.0.9:20003",
			"PAI_CONTAINER_HOST_grpc_PORT_LIST": "20004,20005", "PAI_CONTAINER_SSH_PORT": "20002", "PAI_CONTAINER_HOST_PORT": "20003",
			"PAI_CONTAINER_HOST_PORT_LIST": "ssh:20002;http:20003;grpc:20004,20005;", "PAI_CURRENT_CONTAINER_IP": "10.0.0.9",
			"PAI_TASK_ROLE_INSTANCES": "worker:0,worker:1,ps_1:0", "PAI_JOB_TASK_COUNT": "3", "PAI_TASK_ROLES_NUM": "2", "PAI_TASKS_NUM": "1",
			"PAI_TASK_INDEX": "0", "PAI_USERNAME": "alice", "PAI_FRAMEWORK_NAME": "alice~train", "PAI_RESOURCE_ps_1": "0,0.5,64,0",
		} {
			if env[name] != want {
				t.Errorf("%v: %s is %q, want %q", shell, name, env[name], want)
			}
		}
		if env["PAI_WORK_DIR"] != env["PWD"] || !strings.Contains(errs, "waiting until all tasks have addresses") {
			t.Errorf("%v: %q, %s", shell, env["PAI_WORK_DIR"], errs)
		}
	}
}

// A task does not wait forever, and not long when it runs again: other tasks might have
// ended. It uses names instead.
func TestTasksUseNamesWithoutAddresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		more []string
		errs string
	}{
		"no address":       {twoRoles, nil, "alice-train-x-worker-0-0.alice-train-x has no address yet; its name is used"},
		"runs again":       {twoRoles, []string{"PAI_TASK_FAILURES=1"}, "has no address yet"},
		"no need to meet":  {good, nil, ""},
		"no gang":          {twoRoles + "extras: {gangAllocation: false}\n", nil, ""},
		"commands mention": {strings.Replace(good, "echo hello", "echo $PAI_HOST_IP_worker_0", 1), nil, "has no address yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, errs := environmentOf(t, []string{"sh"}, parsed(t, c.text), "worker", "1", "exit 2", c.more...)
			if env["PAI_HOST_IP_worker_0"] != "alice-train-x-worker-0-0.alice-train-x" || !strings.Contains(errs, c.errs) || (c.errs == "") != (errs == "") {
				t.Errorf("got %q, %s", env["PAI_HOST_IP_worker_0"], errs)
			}
		})
	}
}

// Busybox has no getent. Its nslookup prints the name server first.
func TestAddressFromNslookup(t *testing.T) {
	t.Parallel()
	for name, output := range map[string]string{
		"busybox":       "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n\nName:\tworker\nAddress: 10.0.0.1\n",
		"older busybox": "Server:    10.96.0.10\nAddress 1: 10.96.0.10 dns\n\nName:      worker\nAddress 1: 10.0.0.1 worker\n",
		"bind":          "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10#53\n\nName:\tworker\nAddress: 10.0.0.1\n\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "answer"), []byte(output), 0o600); err != nil {
			t.Fatal(err)
		}
		script := rendezvous + "\nnslookup() { cat \"" + dir + "/answer\"; }\npai_resolver=nslookup\npai_lookup worker\n"
		for _, shell := range shells() {
			out, err := exec.Command(shell[0], append(shell[1:], "-c", script)...).CombinedOutput()
			if err != nil || string(out) != "10.0.0.1\n" {
				t.Errorf("%s in %v: got %q, %v", name, shell, out, err)
			}
		}
	}
}

// No two ports of a task have the same number, none is one that Linux gives to outgoing
// connections, and no two task roles have one in common.
func TestPortsNeverCollide(t *testing.T) {
	t.Parallel()
	spec := parsed(t, strings.Replace(everything, "instances: 2", "instances: 3", 1))
	spec.TaskRoles = append(spec.TaskRoles, parsed(t, twoRoles).TaskRoles...)
	spec.assignPorts()
	var numbers []int
	for _, r := range spec.TaskRoles {
		for _, p := range r.Ports {
			for i := range p.Count {
				numbers = append(numbers, p.First+i)
			}
		}
	}
	slices.Sort(numbers)
	if len(slices.Compact(slices.Clone(numbers))) != len(numbers) || numbers[0] < 1024 || numbers[len(numbers)-1] >= 32768 {
		t.Errorf("got %v", numbers)
	}
}

func TestPortsAreBounded(t *testing.T) {
	t.Parallel()
	for ports, want := range map[string]string{
		"{a: 1001}":         "must be from 0 to 1000",
		"{a: 600, b: 600}":  "each task reserves 1200 ports; the limit is 1000",
		"{'a b': 1}":        "the name of a port",
		"{1http: 1}":        "the name of a port",
		"{a: x}":            "must be a whole number",
		"{a: 0, ssh: 0}":    "",
		"[]":                "",
		"[http]":            "must be a mapping",
		"{a: 999, http: 1}": "",
	} {
		_, _, err := Parse([]byte(strings.Replace(good, "gpu: 0}", "gpu: 0, ports: "+ports+"}", 1)), ParseOptions{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", ports, err, want)
		}
	}
	// Linux starts no program with so large an environment.
	spec := parsed(t, strings.NewReplacer("instances: 2", "instances: 500", "gpu: 0}", "gpu: 0, ports: {a: 500}}").Replace(good))
	if _, err := spec.Objects("alice", nil, "texts"); err == nil || !strings.Contains(err.Error(), "the addresses and ports of 500 tasks come to") {
		t.Errorf("got %v", err)
	}
}

// The environment that is accepted is not larger than what was counted.
func TestEnvironmentIsNotLargerThanCounted(t *testing.T) {
	t.Parallel()
	spec := parsed(t, strings.Replace(twoRoles, "instances: 2", "instances: 200", 1))
	env, _ := environmentOf(t, []string{"sh"}, spec, "worker", "1", "exit 2", "PAI_TASK_FAILURES=1")
	size := 0
	for name, value := range env {
		if strings.HasPrefix(name, "PAI_") {
			size += len(name) + len(value) + 2
		}
	}
	if total, longest := spec.environmentSize(); size > total || len(env["PAI_TASK_ROLE_worker_HOST_LIST"]) > longest {
		t.Errorf("%d bytes, counted %d and %d", size, total, longest)
	}
}
