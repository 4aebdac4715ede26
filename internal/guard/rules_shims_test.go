package guard

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/pai"
)

// silent makes shims of a busy machine silent: the given ones of Facts.Shims.
func silent(f *Facts, problems ...string) {
	f.Jobs.value[0].Pods[0].Namespace, f.Jobs.value[0].Pods[0].Name = "pai-vc-default", "train-0"
	for i, p := range problems {
		f.Shims.value[i].Problem = p
	}
}

func TestSilentShimRefusesTheRuntime(t *testing.T) {
	t.Parallel()
	f := busy()
	silent(&f, "", "no answer within 2s")
	d := Decide(runtimeStep(), pai.RiskNode, f, nil)
	if d.Verdict != Refuse || !d.Transient || !strings.Contains(d.Reason, "container main of pod pai-vc-default/train-0 of job ada~train: no answer within 2s (runtime-shims)") {
		t.Errorf("got %+v, want refuse with the container and its job", d)
	}
	if !strings.Contains(d.Next, "if gpu-01 is busy") || !strings.Contains(d.Next, "--accept-risk=evict-jobs:gpu-01") {
		t.Errorf("got the hint %q", d.Next)
	}
	if d := Decide(kubeletStep(), pai.RiskNode, f, nil); d.Verdict != Go {
		t.Errorf("got %+v for the kubelet, want go", d)
	}
	if d := Decide(runtimeStep(), pai.RiskNode, f, []string{AcceptEvict(gpu01)}); d.Verdict != Go || !d.NeedsEviction {
		t.Errorf("got %+v with accepted eviction, want go after the eviction", d)
	}
	f.Containers, f.Jobs = Known([]inspect.Container(nil)), Known([]pai.Job(nil))
	if d := Decide(runtimeStep(), pai.RiskNode, f, nil); d.Verdict != Go || !d.NeedsCordon {
		t.Errorf("got %+v for an idle machine, want go with a cordon", d)
	}
}

func TestShimsAreDescribed(t *testing.T) {
	t.Parallel()
	f := busy()
	silent(&f, "connection refused")
	if got := shimsAnswer(f); !strings.Contains(got, "the sandbox of pod pai-vc-default/train-0 of job ada~train: connection refused") {
		t.Errorf("got %q", got)
	}
	var many []inspect.Shim
	for range 5 {
		many = append(many, inspect.Shim{Container: inspect.Container{ID: "c9"}, Problem: "gone"})
	}
	f.Shims = Known(many)
	if got := shimsAnswer(f); strings.Count(got, "container c9: gone") != 3 || !strings.HasSuffix(got, ", and 2 more") {
		t.Errorf("got %q", got)
	}
}

// A machine that is busy for a moment gets time to answer.
func TestGuardAsksSilentShimsAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		silence time.Duration
		want    Verdict
	}{"for 5 s": {5 * time.Second, Go}, "for an hour": {time.Hour, Refuse}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, until := 0, time.Now().Add(test.silence)
				g, err := New(lateDevices{time.Now(), func(f *Facts) {
					if time.Now().Before(until) {
						silent(f, "no answer within 2s")
					}
				}, &calls}, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if d := g.Decide(t.Context(), runtimeStep()); d.Verdict != test.want {
					t.Errorf("got %s (%s), want %s", d.Verdict, d.Reason, test.want)
				}
			})
		})
	}
}
