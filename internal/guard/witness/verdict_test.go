package witness

import (
	"strings"
	"testing"
)

// own are the facts of a container that exited with code 1 by itself.
func own(change ...func(f *facts)) facts {
	f := facts{exit: &exitStatus{code: 1, reason: "Error"}, machine: "gpu-01", boot: bootSame, killsRead: true,
		lastSeen: at(9_000), noticed: at(11_000), ended: at(10_000)}
	for _, c := range change {
		c(&f)
	}
	return f
}

func exits(code int, reason string) func(f *facts) {
	return func(f *facts) { f.exit = &exitStatus{code: code, reason: reason} }
}

func limited(f *facts) { f.exit = &exitStatus{code: 137, reason: "OOMKilled", limited: true} }

func during(step string) func(f *facts) { return func(f *facts) { f.steps = step } }

func TestVerdict(t *testing.T) {
	t.Parallel()
	noExit := func(f *facts) { f.exit = nil }
	deleted := func(f *facts) { f.deleted, f.exit = true, &exitStatus{code: 143} }
	jobFailed := func(f *facts) { f.jobFailed = true }
	disk := func(f *facts) { f.diskLimit = "full" }
	follows := func(f *facts) { f.follows = "after container task of pod x had failed by itself" }
	for name, test := range map[string]struct {
		facts    facts
		verdict  Verdict
		waits    bool
		evidence string // part of it
	}{
		"exit code 1":           {own(), Failed, false, "exit code 1, Error"},
		"not deleted":           {own(), Failed, false, "neither deleted nor evicted"},
		"no reboot":             {own(), Failed, false, "gpu-01 did not reboot"},
		"no step":               {own(), Failed, false, "no step that can end it"},
		"no kill":               {own(), Failed, false, "reports no kill"},
		"exit code 127":         {own(exits(127, "Error")), Failed, false, "127"},
		"exit code 128":         {own(exits(128, "StartError")), Unknown, false, "128"},
		"SIGSEGV":               {own(exits(139, "Error")), Failed, false, "139"},
		"SIGABRT":               {own(exits(134, "Error")), Failed, false, "134"},
		"SIGSEGV as signal":     {own(func(f *facts) { f.exit = &exitStatus{code: 11, signal: 11} }), Failed, false, "signal 11"},
		"SIGKILL as signal":     {own(func(f *facts) { f.exit = &exitStatus{code: 1, signal: 9} }), Unknown, false, "signal 9"},
		"SIGKILL":               {own(exits(137, "Error")), Unknown, false, "137"},
		"SIGTERM":               {own(exits(143, "Error")), Unknown, false, "143"},
		"SIGBUS":                {own(exits(135, "Error")), Unknown, false, "135"},
		"exit code 255":         {own(exits(255, "Error")), Unknown, false, "255"},
		"runtime does not know": {own(exits(1, "Unknown")), Unknown, false, "Unknown"},
		"status lost":           {own(exits(137, "ContainerStatusUnknown")), Unknown, false, "ContainerStatusUnknown"},
		"success but replaced":  {own(exits(0, "Completed"), func(f *facts) { f.replaced = "c1" }), Unknown, false, "c1"},
		"own memory limit":      {own(limited), Failed, false, "within its own memory limit"},
		"memory of the machine": {own(exits(137, "OOMKilled")), Unknown, false, "has no memory limit"},

		"exit code 1 in a step":      {own(during("kubelet")), Unknown, false, "able to end it: kubelet"},
		"own memory limit in a step": {own(limited, during("kubelet")), Unknown, false, "kubelet"},
		"SIGKILL in a step":          {own(exits(137, "Error"), during("kubelet")), Interrupted, false, "kubelet"},
		"SIGTERM in a step":          {own(exits(143, "Error"), during("kubelet")), Interrupted, false, "kubelet"},
		"SIGSEGV in a step":          {own(exits(139, "Error"), during("storage")), Unknown, false, "storage"},

		"reboot":                {own(func(f *facts) { f.boot = bootOther }), Interrupted, false, "rebooted"},
		"shutdown":              {own(func(f *facts) { f.boot = bootStopping }), Interrupted, false, "shutting down"},
		"boot ID unknown":       {own(func(f *facts) { f.boot = bootUnknown }), Unknown, false, "boot ID"},
		"no report yet":         {own(func(f *facts) { f.boot = bootPending }), Unknown, true, "not reported"},
		"no report, in step":    {own(func(f *facts) { f.boot = bootPending }, during("kubelet")), Unknown, false, "kubelet"},
		"seen hours before":     {own(func(f *facts) { f.lastSeen = base().Add(-lastSeenWithin) }), Unknown, false, "last seen alive 30m"},
		"kills not read yet":    {own(func(f *facts) { f.killsRead = false }), Unknown, true, "not read"},
		"SIGKILL, not read":     {own(exits(137, "Error"), func(f *facts) { f.killsRead = false }), Unknown, true, "not read"},
		"SIGKILL, no report":    {own(exits(137, "Error"), func(f *facts) { f.boot = bootPending }), Unknown, false, "137"},
		"killed by kubelet":     {own(func(f *facts) { f.killed = "Container task failed liveness probe" }), Interrupted, false, "liveness"},
		"disruption":            {own(func(f *facts) { f.disruption = "EvictionByEvictionAPI" }), Interrupted, false, "EvictionByEvictionAPI"},
		"evicted by kubelet":    {own(func(f *facts) { f.podFailure = "its pod failed: Evicted" }), Interrupted, false, "Evicted"},
		"own disk limit":        {own(exits(137, "Error"), disk), Failed, false, "exceeding its own limit: full"},
		"own disk limit, kill":  {own(exits(137, "Error"), disk, func(f *facts) { f.killed, f.killsRead = "Stopping container task", false }), Failed, false, "no disruption"},
		"own disk limit, step":  {own(exits(137, "Error"), disk, during("kubelet")), Unknown, false, "kubelet"},
		"own disk limit, drain": {own(disk, func(f *facts) { f.disruption = "EvictionByEvictionAPI" }), Interrupted, false, "EvictionByEvictionAPI"},
		"own disk limit, boot":  {own(disk, func(f *facts) { f.boot = bootOther }), Interrupted, false, "rebooted"},
		"own disk, deleted":     {own(disk, deleted), Interrupted, false, "deleted before it ended"},
		"exit code unknown":     {own(noExit), Unknown, false, "exit code is unknown"},
		"replaced, unknown":     {own(noExit, func(f *facts) { f.replaced = "c1" }), Unknown, false, "c1"},
		"output lost":           {own(noExit, func(f *facts) { f.outputLost = true }), Interrupted, false, "output"},
		"end not observed":      {own(noExit, func(f *facts) { f.unobserved = "no route to host" }), Unknown, false, "no route"},
		"not observed, SIGKILL": {own(exits(137, ""), func(f *facts) { f.unobserved = "job not read" }), Unknown, false, "job not read"},

		"deleted":                        {own(deleted), Interrupted, false, "deleted before it ended"},
		"deleted with a failed job":      {own(deleted, jobFailed), Unknown, false, "no task of the job is known"},
		"deleted, others pending":        {own(deleted, jobFailed, func(f *facts) { f.peersPending = true }), Unknown, true, "no task of the job is known"},
		"deleted after another failed":   {own(deleted, jobFailed, follows), Failed, false, "had failed by itself"},
		"the same, killed by kubelet":    {own(deleted, jobFailed, follows, func(f *facts) { f.killed = "Stopping container" }), Failed, false, "had failed by itself"},
		"the same in a step":             {own(deleted, jobFailed, follows, during("kubelet")), Unknown, false, "kubelet"},
		"the same with a disruption":     {own(deleted, jobFailed, follows, func(f *facts) { f.disruption = "Preempted" }), Interrupted, false, "Preempted"},
		"the same, its machine rebooted": {own(deleted, jobFailed, follows, func(f *facts) { f.boot = bootOther }), Interrupted, false, "rebooted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := decide(test.facts)
			if got.verdict != test.verdict || got.waits != test.waits || !strings.Contains(strings.Join(got.evidence, "\n"), test.evidence) {
				t.Errorf("got %+v, want %s, waits %v, with %q", got, test.verdict, test.waits, test.evidence)
			}
		})
	}
}
