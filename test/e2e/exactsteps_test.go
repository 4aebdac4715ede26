//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// reaches wants the plan of an upgrade and the dry run of a boot to have exactly
// these steps, runs a command that does them, and wants nothing to be left. The
// job must not notice, and the API must be available.
func (s *sameVersion) reaches(command string, want ...string) {
	t := s.t
	t.Helper()
	s.wantSteps("paictl", want)
	op := checkStream(t, s.run(10*time.Minute, append(strings.Fields(command), "--yes", "-o", "json")...))
	var done []string
	for _, step := range op.Steps {
		done = append(done, shortID(step.ID)+" "+step.Outcome)
	}
	t.Logf("steps: %s; API unavailable: %.2f s for new connections, %.2f s for kept ones", strings.Join(done, ", "), op.API.OutageSeconds, op.API.Kept.OutageSeconds)
	if len(done) != len(want) {
		t.Errorf("recorded: %v", done)
	}
	if op.Jobs.Before != 1 || op.Jobs.After != 1 || len(op.Jobs.Interrupted) != 0 || op.UnobservedSeconds != 0 {
		t.Errorf("report: %+v", op)
	}
	// The API proxy is restarted, and its connections with it: clients connect again.
	outage, restarted := max(op.API.OutageSeconds, op.API.Kept.OutageSeconds), slices.Contains(want, "machine/pai-1/api-proxy programs")
	if outage > 0 && !restarted || outage > 3 {
		t.Errorf("the API was unavailable: %+v", op.API)
	}
	s.wantContainers(s.containers)
	if now := s.jobProcesses(); !slices.Equal(now, s.processes) {
		t.Errorf("the containers of the job have the processes %v, want %v", now, s.processes)
	}
	s.wantSteps("afterwards paictl", nil)
}

// wantSteps wants the plan of an upgrade and the dry run of a boot to have exactly
// these steps, with what differs.
func (s *sameVersion) wantSteps(when string, want []string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	previews := []string{"upgrade plan --to " + older, "cluster k8s-bootup --dry-run"}
	got, errs := make([][]string, len(previews)), make([]error, len(previews))
	var both sync.WaitGroup
	for n, preview := range previews {
		both.Go(func() { got[n], errs[n] = s.steps(ctx, preview) })
	}
	both.Wait()
	for n, preview := range previews {
		if errs[n] != nil {
			s.t.Fatal(errs[n])
		}
		if n == 1 { // a boot leaves out what is done, and the machine is not cordoned
			want = slices.DeleteFunc(slices.Clone(want), func(id string) bool { return strings.HasSuffix(id, "/uncordon") })
		}
		if !slices.Equal(got[n], want) {
			s.t.Errorf("%s %s has the steps\n  %s\nwant\n  %s", when, preview, strings.Join(got[n], "\n  "), strings.Join(want, "\n  "))
		}
	}
}

// steps are the steps of a plan, sorted.
func (s *sameVersion) steps(ctx context.Context, preview string) ([]string, error) {
	out, err := s.try(ctx, nil, append(strings.Fields(preview), "-o", "json")...)
	if err != nil {
		return nil, err
	}
	var p struct {
		Steps []struct {
			ID      string
			Differs []string
		}
	}
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		return nil, fmt.Errorf("paictl %s -o json: %w\n%s", preview, err, out)
	}
	var steps []string
	for _, step := range p.Steps {
		steps = append(steps, strings.TrimSpace(shortID(step.ID)+" "+strings.Join(step.Differs, ",")))
	}
	slices.Sort(steps)
	return steps, nil
}

func shortID(id string) string { return strings.TrimPrefix(id, "kubernetes/"+olderKubernetes+"/") }

// jobProcesses are the first processes of the containers of the job, as containerd
// has them.
func (s *sameVersion) jobProcesses() []string {
	s.t.Helper()
	tasks := s.on("pai-1", "/opt/pai/role/containerd/bin/ctr -n k8s.io tasks ls")
	var processes []string
	for _, c := range s.jobContainers() {
		for line := range strings.Lines(tasks) {
			if fields := strings.Fields(line); len(fields) == 3 && "containerd://"+fields[0] == c.ID {
				processes = append(processes, strings.Join(fields, " "))
			}
		}
	}
	if len(processes) != 2 {
		s.t.Errorf("got the processes %v of the job, want 2:\n%s", processes, tasks)
	}
	return processes
}

// buildOf is the directory of the build that a role is linked to.
func (s *sameVersion) buildOf(role string) string {
	s.t.Helper()
	dir := strings.TrimSpace(s.on("pai-1", "readlink -f /opt/pai/role/"+role))
	if !strings.HasPrefix(dir, "/opt/pai/"+olderKubernetes+"+") {
		s.t.Errorf("%s is linked to %s, not to another build than the first", role, dir)
	}
	return dir
}

// runsPatched wants a role to run the patched program from the directory of its build.
func (s *sameVersion) runsPatched(role string) {
	s.t.Helper()
	exe := "/proc/$(systemctl show -P MainPID pai-" + role + ")/exe"
	s.says(s.buildOf(role)+"/bin/"+role+"\n", "readlink "+exe)
	s.says("patched", "grep -q '"+patched+"' "+exe+" && echo patched")
}

// says wants the output of a script on the machine to contain a text.
func (s *sameVersion) says(want, script string) {
	s.t.Helper()
	if out := s.on("pai-1", script); !strings.Contains(out, want) {
		s.t.Errorf("%s says\n%s\nwant %q", script, out, want)
	}
}
