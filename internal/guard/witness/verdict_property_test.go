package witness

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// A history is what happened to three containers on two machines, and when it was
// observed. All times are in ms. Machines report at whole seconds, containers end
// 250 ms after one, machines reboot 400 ms after one, steps change 500 ms after
// one, and the API is read 750 ms after one: no two of them coincide.
type history struct {
	containers [3]ending
	machines   [2]machineHistory
	steps      []stepHistory
}

type ending struct {
	kind string
	at   int // 0 for none
	read int // when the API reports it
}

type machineHistory struct {
	reboot         int // 0 for none
	silent, speaks int // no report from silent until speaks
}

type stepHistory struct {
	from, to int
	step     Step
}

const lastSecond = 60_000

func machineName(i int) string { return []string{"gpu-01", "gpu-02"}[i] }

// Containers 0 and 1 are of one job, on both machines; 2 is of another, on the first.
func machineOf(container int) int { return []int{0, 1, 0}[container] }
func jobOf(container int) string  { return []string{"one", "one", "two"}[container] }

func drawHistory(t *rapid.T) (h history) {
	second := func(label string, low, high int) int { return 1000 * rapid.IntRange(low, high).Draw(t, label) }
	for i := range h.containers {
		kinds := []string{"none", "exit 0", "exit 1", "SIGSEGV", "own limit", "no limit", "SIGKILL", "SIGTERM", "exit 255", "deleted", "evicted", "killed by kubelet", "own disk", "node disk", "own disk, evicted"}
		if i == 2 { // its job has no other task
			kinds = append(kinds, "time limit", "deleted before it")
		}
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		if kind != "none" {
			at := second("end", 1, 40) + 250
			h.containers[i] = ending{kind, at, at + 500 + second("delay", 0, 9)}
		}
	}
	for i := range h.machines {
		m := &h.machines[i]
		if rapid.IntRange(0, 3).Draw(t, "reboots") == 0 {
			m.reboot = second("reboot", 1, 45) + 400
		}
		if rapid.Bool().Draw(t, "silent") {
			m.silent = second("silent from", 0, 50)
			m.speaks = m.silent + second("silence", 1, 30)
		}
	}
	for n := range rapid.IntRange(0, 3).Draw(t, "steps") {
		from := second("step", 0, 45) + 500
		step := rapid.SampledFrom([]Step{{}, {Everywhere: true}, {Machine: "gpu-01"}, {Machine: "gpu-02"}}).Draw(t, "reach")
		step.ID = fmt.Sprint("step-", n)
		h.steps = append(h.steps, stepHistory{from, from + second("takes", 1, 8), step})
	}
	// A container ends at the reboot of its machine, which the API reports later.
	for i := range h.containers {
		c, m := &h.containers[i], h.machines[machineOf(i)]
		if m.reboot != 0 && (c.at == 0 || c.at > m.reboot) {
			*c = ending{"lost", m.reboot, m.reboot + 350 + second("reboot takes", 1, 9)}
		}
	}
	return h
}

func (m machineHistory) reports(at int) bool {
	return at%3000 == 0 && (at < m.silent || at >= m.speaks)
}

// replay records a history in a ledger as the witness would.
func (h history) replay() *ledger {
	var pods []corev1.Pod
	for i := range h.containers {
		pods = append(pods, *h.pod(i, false))
	}
	b := baselineOf(pods, nil, base())
	steps := &timeline{}
	l := newLedger(b.Jobs, map[string]string{"gpu-01": "one", "gpu-02": "one"}, steps, base())
	steps.note(base())
	for now := 250; now <= lastSecond; now += 50 {
		var inProgress []Step
		for _, s := range h.steps {
			if s.from <= now && now < s.to {
				inProgress = append(inProgress, s.step)
			}
		}
		steps.note(at(now), inProgress...)
		for i, m := range h.machines {
			if m.reports(now) {
				h.report(l, i, now)
			}
		}
		for i, c := range h.containers {
			if c.at != 0 && c.read == now {
				l.recordPod(h.pod(i, true), at(now))
			}
		}
		if now%1000 == 900 { // settle
			for i := range h.containers {
				l.recordKills(fmt.Sprint("uid-", i), h.kills(i, now), at(now))
			}
			l.recordJob("pai-vc-default/one", running.JobSet{}, true, at(now))
			roles := h.failedRoles(now)
			l.recordRoles("pai-vc-default/two", roles)
			l.recordJob("pai-vc-default/two", running.JobSet{Failed: len(roles) > 0}, true, at(now))
		}
	}
	return l
}

func (h history) report(l *ledger, machine, now int) {
	m := running.MachineReport{Boot: "one"}
	if r := h.machines[machine].reboot; r != 0 && r < now {
		m.Boot = "two"
	}
	for i, c := range h.containers {
		if machineOf(i) == machine && (c.at == 0 || c.at > now) {
			m.Containers = append(m.Containers, running.Container{ID: fmt.Sprint("uid-", i, "-c0"), PodUID: fmt.Sprint("uid-", i), Name: "main"})
		}
	}
	l.recordMachine(machineName(machine), m, at(now), at(now))
}

// failedRoles are those of the second job: it reaches its time limit before its pod is
// deleted, or after.
func (h history) failedRoles(now int) []failedRole {
	c := h.containers[2]
	reached, limited := map[string]int{"time limit": c.at - 1000, "deleted before it": c.at + 200}[c.kind]
	if !limited || now < c.at {
		return nil
	}
	return []failedRole{{name: "two-worker-0", reached: at(reached)}}
}

func (h history) kills(container, now int) []kill {
	kinds := []string{"killed by kubelet", "own disk", "node disk", "own disk, evicted"}
	if c := h.containers[container]; slices.Contains(kinds, c.kind) && c.at < now {
		return []kill{{"main", "the container will be restarted", at(c.at).Truncate(time.Second)}}
	}
	return nil
}

func (h history) pod(container int, ended bool) *corev1.Pod {
	c := h.containers[container]
	p := podOf(fmt.Sprint("uid-", container))
	p.Spec.NodeName = machineName(machineOf(container))
	p.Labels[pai.LabelJob], p.Annotations[pai.AnnotationJobName] = jobOf(container), jobOf(container)
	if !ended {
		return p
	}
	code := map[string]int32{"exit 0": 0, "exit 1": 1, "SIGSEGV": 139, "own limit": 137, "no limit": 137, "SIGKILL": 137, "SIGTERM": 143,
		"exit 255": 255, "deleted": 143, "evicted": 1, "killed by kubelet": 1, "lost": 255, "own disk": 137, "node disk": 137, "own disk, evicted": 137, "time limit": 143, "deleted before it": 143}[c.kind]
	exited(code, c.at)(p)
	switch c.kind {
	case "own limit", "no limit":
		oomKilled(c.kind == "own limit", c.at)(p)
	case "deleted", "time limit", "deleted before it":
		deletedAt(c.at - 900)(p)
	case "own disk":
		diskFull(p)
	case "node disk":
		diskFull(p)
		p.Status.Message = "The node was low on resource: ephemeral-storage. "
		disrupted("TerminationByKubelet")(p)
	case "own disk, evicted":
		diskFull(p)
		disrupted("EvictionByEvictionAPI")(p)
	case "evicted":
		deletedAt(c.at - 900)(p)
		disrupted("EvictionByEvictionAPI")(p)
	}
	return p
}

// want is the oracle. It knows what really happened, and asks of every second.
func (h history) want(container int) Verdict {
	c := h.containers[container]
	own := slices.Contains([]string{"exit 1", "SIGSEGV", "own limit", "own disk", "time limit"}, c.kind)
	machine := h.machines[machineOf(container)]
	seen, noticed, lastReport, rebootSeen := 0, c.read, 0, false
	for now := 0; now <= lastSecond; now += 1000 {
		switch {
		case !machine.reports(now) || now == 0:
		case machine.reboot != 0 && machine.reboot < now:
			rebootSeen = true
		default:
			lastReport = now
		}
		if machine.reports(now) && now != 0 {
			if now < c.at {
				seen = now
			} else {
				noticed = min(noticed, now)
			}
		}
	}
	reached := false
	for now := seen; now <= noticed; now += 50 {
		for _, s := range h.steps {
			if s.from <= now && now < s.to && (s.step.Everywhere || s.step.Machine == machineName(machineOf(container)) || (jobOf(container) == "one" && s.step.Machine != "")) {
				reached = true
			}
		}
	}
	ended := max(c.at/1000*1000, seen) // as the API reports it
	switch {
	case c.kind == "exit 0" || c.at == 0:
		return ""
	case rebootSeen && ended >= lastReport:
		return Interrupted
	case slices.Contains([]string{"deleted", "evicted", "killed by kubelet", "node disk", "own disk, evicted"}, c.kind):
		return Interrupted
	case reached && slices.Contains([]string{"SIGKILL", "SIGTERM", "deleted before it"}, c.kind):
		return Interrupted
	case own && !reached && lastReport > noticed:
		return Failed
	default:
		return Unknown
	}
}

// TestVerdictsOfHistories compares the verdicts about many histories with the
// oracle, and holds the rules that matter most against what really happened.
func TestVerdictsOfHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		l := h.replay()
		l.settleOverdue(at(lastSecond + 120_000))
		living := finalObservation{alive: map[string]bool{}}
		for i, c := range h.containers {
			living.alive[fmt.Sprint("uid-", i, "-c0")] = c.at == 0
		}
		r := l.conclude(living, at(lastSecond+120_000))
		if !r.Balanced() || r.Before != 2 {
			t.Fatalf("not balanced: %+v", r)
		}
		got := map[string]Verdict{}
		for v, list := range map[Verdict][]pai.ContainerEnd{Failed: r.Failed, Interrupted: r.Interrupted, Unknown: r.Unknown} {
			for _, e := range list {
				if got[e.Pod] != "" || len(e.Evidence) == 0 {
					t.Fatalf("pod %s is listed twice or without evidence: %+v", e.Pod, r)
				}
				got[e.Pod] = v
			}
		}
		for i, c := range h.containers {
			pod, want := fmt.Sprint("train-uid-", i), h.want(i)
			if peer := 1 - i; i < 2 && want == Failed && (h.want(peer) == Interrupted || h.want(peer) == Unknown) && h.containers[peer].at/1000 <= c.at/1000+1 {
				want = Unknown // it might have failed because of the other container
			}
			if got[pod] != want {
				t.Fatalf("container %d (%s at %d): got %q, want %q\n%+v\n%+v", i, c.kind, c.at, got[pod], want, h, r)
			}
			if platform := slices.Contains([]string{"lost", "deleted", "evicted", "killed by kubelet", "SIGKILL", "SIGTERM", "no limit", "node disk", "own disk, evicted", "deleted before it"}, c.kind); platform && got[pod] == Failed {
				t.Fatalf("container %d (%s) did not end by itself, got %q", i, c.kind, got[pod])
			}
		}
	})
}
