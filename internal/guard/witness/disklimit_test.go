package witness

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/observe/running"
)

// diskFull makes a pod one that the kubelet evicted for exceeding its own limit.
func diskFull(p *corev1.Pod) {
	failedPod("Evicted")(p)
	p.Status.Message = "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi. "
	diskLimits(p)
}

// diskLimits gives a pod a container and a volume with disk limits.
func diskLimits(p *corev1.Pod) {
	limit := corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("10240Mi")}
	p.Spec.Containers = []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{Limits: limit}}}
	size := resource.MustParse("64Mi")
	p.Spec.Volumes = []corev1.Volume{
		{Name: "script"},
		{Name: "shm", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}},
		{Name: "unlimited", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
}

// Only the message of a limit that the pod has, without a disruption, is proof that the
// pod exceeded its own limit.
func TestOwnDiskLimit(t *testing.T) {
	t.Parallel()
	says := func(message string) func(p *corev1.Pod) { return func(p *corev1.Pod) { p.Status.Message = message } }
	for name, test := range map[string]struct {
		change []func(p *corev1.Pod)
		own    bool
	}{
		"of the pod":       {nil, true},
		"of a container":   {[]func(p *corev1.Pod){says(`Container main exceeded its local ephemeral storage limit "10Gi". `)}, true},
		"of a volume":      {[]func(p *corev1.Pod){says(`Usage of EmptyDir volume "shm" exceeds the limit "64Mi". `)}, true},
		"of two":           {[]func(p *corev1.Pod){twoContainers, says("Pod ephemeral local storage usage exceeds the total limit of containers 10752Mi. ")}, true},
		"another volume":   {[]func(p *corev1.Pod){says(`Usage of EmptyDir volume "unlimited" exceeds the limit "64Mi". `)}, false},
		"other limit":      {[]func(p *corev1.Pod){says(`Usage of EmptyDir volume "shm" exceeds the limit "1Gi". `)}, false},
		"other container":  {[]func(p *corev1.Pod){says(`Container side exceeded its local ephemeral storage limit "10Gi". `)}, false},
		"without a limit":  {[]func(p *corev1.Pod){func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits = nil }}, false},
		"zero":             {[]func(p *corev1.Pod){zeroLimits, says("Pod ephemeral local storage usage exceeds the total limit of containers 0. ")}, false},
		"of the machine":   {[]func(p *corev1.Pod){says("The node was low on resource: ephemeral-storage. ")}, false},
		"of both":          {[]func(p *corev1.Pod){says("The node was low on resource: ephemeral-storage. Pod ephemeral local storage usage exceeds the total limit of containers 10Gi. ")}, false},
		"no message":       {[]func(p *corev1.Pod){says("")}, false},
		"disrupted":        {[]func(p *corev1.Pod){disrupted("TerminationByKubelet")}, false},
		"was disrupted":    {[]func(p *corev1.Pod){disrupted("TerminationByKubelet"), func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }}, false},
		"another reason":   {[]func(p *corev1.Pod){func(p *corev1.Pod) { p.Status.Reason = "NodeLost" }}, false},
		"not failed (yet)": {[]func(p *corev1.Pod){func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }}, false},
	} {
		p := podOf("a", append([]func(p *corev1.Pod){diskFull}, test.change...)...)
		if got := ownDiskLimit(p); (got != "") != test.own {
			t.Errorf("%s: got %q, want its own %v", name, got, test.own)
		}
	}
}

func twoContainers(p *corev1.Pod) {
	limit := corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("512Mi")}
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side", Resources: corev1.ResourceRequirements{Limits: limit}})
}

func zeroLimits(p *corev1.Pod) {
	p.Spec.Containers[0].Resources.Limits[corev1.ResourceEphemeralStorage] = resource.Quantity{}
	p.Spec.Volumes[1].EmptyDir.SizeLimit = &resource.Quantity{}
}

// sideEnded adds a container to a pod that was killed at another time.
func sideEnded(atMS int) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "side", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, FinishedAt: metav1.NewTime(at(atMS))}}})
	}
}

func TestEndsByDiskLimit(t *testing.T) {
	t.Parallel()
	kill := []kill{{"main", "Stopping container main", at(11_000)}}
	for name, test := range map[string]struct {
		happens func(l *ledger)
		want    Verdict
	}{
		"own limit": {func(l *ledger) {
			l.recordPod(podOf("a", exited(137, 12_000), diskFull), at(12_500))
		}, Failed},
		"handled the signal": {func(l *ledger) {
			l.recordPod(podOf("a", exited(0, 12_000), diskFull), at(12_500))
		}, Failed},
		"first noticed on the machine": {func(l *ledger) {
			boots(l, "one", 11_000, 11_100, "a-c0", "b-c0")
			boots(l, "one", 12_400, 12_450, "b-c0")
			l.recordPod(podOf("a", exited(137, 12_000), diskFull), at(12_500))
		}, Failed},
		"a sidecar of the pod exceeded it": {func(l *ledger) {
			l.recordPod(podOf("a", exited(137, 12_000), sideEnded(13_000), diskFull), at(13_500))
		}, Failed},
		"machine short of disk space": {func(l *ledger) {
			l.recordPod(podOf("a", exited(137, 12_000), diskFull, disrupted("TerminationByKubelet")), at(12_500))
		}, Interrupted},
		"killed long before the pod was evicted": {func(l *ledger) {
			l.recordPod(podOf("a", exited(137, 2_000), sideEnded(12_000), diskFull), at(12_500))
		}, Interrupted},
		"its end is not reported": {func(l *ledger) {
			l.recordPod(podOf("a", diskFull), at(12_500))
		}, Interrupted},
		"no times": {func(l *ledger) {
			l.recordPod(podOf("a", exited(137, 12_000), diskFull, func(p *corev1.Pod) {
				p.Status.ContainerStatuses[0].State.Terminated.FinishedAt = metav1.Time{}
			}), at(12_500))
		}, Interrupted},
	} {
		l := proven()
		test.happens(l)
		l.recordKills("a", kill, at(12_600))
		boots(l, "one", 15_000, 15_100, "b-c0")
		job(l, running.JobSet{}, 15_000)
		if got := verdictsOf(l.report()); !slices.Equal(got, []Verdict{test.want}) {
			t.Errorf("%s: got %v, want %s: %+v", name, got, test.want, l.report())
		}
	}
	// An eviction does not excuse what ended the container before.
	l := proven()
	l.recordPod(podOf("a", exited(137, 12_000)), at(12_500))
	l.recordPod(podOf("a", exited(137, 12_000), sideEnded(14_000), diskFull), at(14_500))
	l.recordKills("a", nil, at(15_000))
	boots(l, "one", 15_000, 15_100, "b-c0")
	job(l, running.JobSet{}, 15_000)
	if got := verdictsOf(l.report()); !slices.Equal(got, []Verdict{Unknown}) {
		t.Errorf("killed before the eviction: got %v, want %s: %+v", got, Unknown, l.report())
	}
}
