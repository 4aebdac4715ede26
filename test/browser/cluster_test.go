//go:build browser

package browser

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/rest/openpai"
)

// hostile is what a user can put into texts.
const hostile = `<img src=x onerror="window.injected=1"><script>window.injected=1</script>`

// cluster is what the REST server shows: jobs in every state, two machines, and operations.
type cluster struct {
	mu   sync.Mutex
	jobs []job.Status
	text map[string]string // the YAML of jobs that were submitted
	// incomplete: jobs that left the cluster are missing in lists.
	incomplete atomic.Bool
	// outputSince is the time of the first line of every task, whenever it is read.
	outputSince time.Time
}

func at(minutes int) time.Time {
	return time.Now().Add(time.Duration(-minutes) * time.Minute).Truncate(time.Second)
}

func newCluster() *cluster {
	code := 137
	tasks := func(n int, state job.State, gpus int) (list []job.TaskStatus) {
		for i := range n {
			t := job.TaskStatus{Index: i, State: state, GPUs: gpus}
			if state != job.StateWaiting {
				t.Machine, t.Pod, t.Started, t.PodCreated = fmt.Sprintf("gpu-%d", i%2+1), fmt.Sprintf("pod-%d", i), at(170), at(171)
			}
			list = append(list, t)
		}
		return list
	}
	status := func(user, name string, state job.State, minutes int, gpus int, roles ...job.TaskRoleStatus) job.Status {
		s := job.Status{JobRef: pai.JobRef{User: user, Name: name, VirtualCluster: "default"}, State: state, Created: at(minutes), GPUs: gpus, TaskRoles: roles, Namespace: "pai-vc-default", Object: name}
		if state != job.StateWaiting {
			s.Started = at(minutes - 2)
		}
		if state.Ended() {
			s.Ended = at(minutes - 40)
		}
		return s
	}
	train := status("ada", "train-resnet", job.StateRunning, 175, 4, job.TaskRoleStatus{Name: "worker", Tasks: tasks(2, job.StateRunning, 2)})
	train.Tags = []string{"paper", hostile}
	waiting := status("ada", "finetune", job.StateWaiting, 12, 8, job.TaskRoleStatus{Name: "worker", Tasks: tasks(1, job.StateWaiting, 8)})
	waiting.Message = "needs 8 GPUs, 2 are free in virtual cluster default; train-resnet of ada holds 4"
	failed := status("ada", "preprocess", job.StateFailed, 300, 0, job.TaskRoleStatus{Name: "map", Tasks: tasks(3, job.StateFailed, 0)})
	failed.Message = "out of memory " + hostile
	for i := range failed.TaskRoles[0].Tasks {
		t := &failed.TaskRoles[0].Tasks[i]
		t.ExitCode, t.Ended, t.Message = &code, at(260), "killed: used more than 64 MB "+hostile
	}
	sweep := status("bob", "sweep", job.StateSucceeded, 900, 0, job.TaskRoleStatus{Name: "try", Tasks: tasks(130, job.StateSucceeded, 0)})
	return &cluster{jobs: []job.Status{sweep, failed, train, waiting, status("bob", "etl", job.StateRunning, 45, 0, job.TaskRoleStatus{Name: "main", Tasks: tasks(1, job.StateRunning, 0)})}, text: map[string]string{}, outputSince: at(20)}
}

const yaml = `# what a user wrote
protocolVersion: 2
name: %s # the name
type: job
prerequisites:
  - {name: image, type: dockerimage, uri: pai.local/example:v1}
taskRoles:
  worker:
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}
    commands: ['echo "<script>window.injected=1</script>"']
`

func (c *cluster) parse(ctx context.Context, s rest.Submission) (*job.Spec, []job.Problem, error) {
	spec, warnings, err := job.Parse(s.Protocol, job.ParseOptions{VirtualClusters: []string{"default", "research"}, VirtualCluster: s.VirtualCluster})
	if err != nil {
		return nil, nil, pai.Errorf(pai.CodeInvalid, "", "the job is not valid: %w", err)
	}
	if _, err := c.Get(ctx, rest.JobID{User: "ada", Name: spec.Name}); err == nil {
		return nil, nil, pai.Errorf(pai.CodeConflict, "choose another name", "job ada~%s already exists", spec.Name)
	}
	return spec, warnings, nil
}

func (c *cluster) Submit(ctx context.Context, s rest.Submission) (rest.Submitted, error) {
	spec, warnings, err := c.parse(ctx, s)
	if err != nil {
		return rest.Submitted{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ref := pai.JobRef{User: "ada", Name: spec.Name, VirtualCluster: spec.VirtualCluster}
	c.jobs = append(c.jobs, job.Status{JobRef: ref, State: job.StateWaiting, Created: time.Now(), TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: []job.TaskStatus{{State: job.StateWaiting}}}}})
	c.text[ref.String()] = string(s.Protocol)
	return rest.Submitted{JobRef: ref, ID: ref.String(), Warnings: warnings}, nil
}

func (c *cluster) Preview(ctx context.Context, s rest.Submission) (rest.Previewed, error) {
	spec, warnings, err := c.parse(ctx, s)
	if err != nil {
		return rest.Previewed{}, err
	}
	return rest.Previewed{Preview: spec.Preview(), ID: "ada~" + spec.Name, Warnings: warnings}, nil
}

func (c *cluster) List(_ context.Context, f rest.Filter) ([]job.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.jobs), func(s job.Status) bool { return f.User != "" && s.User != f.User }), nil
}

func (c *cluster) Page(ctx context.Context, q history.Query) (rest.JobPage, error) {
	jobs, err := c.List(ctx, rest.Filter{})
	all := make([]history.Summary, len(jobs))
	for i, s := range jobs {
		all[i] = history.Summarize(s)
	}
	page, total := q.Page(all)
	p := rest.JobPage{Jobs: page, Total: total}
	if c.incomplete.Load() {
		p.Incomplete = "the history is not available"
	}
	return p, err
}

func (c *cluster) Get(_ context.Context, id rest.JobID) (job.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.jobs, func(s job.Status) bool { return s.User == id.User && s.Name == id.Name })
	if i < 0 {
		return job.Status{}, pai.Errorf(pai.CodeNotFound, "", "job %s not found", id)
	}
	return c.jobs[i], nil
}

func (c *cluster) Living(ctx context.Context, id rest.JobID) (job.Status, error) {
	return c.Get(ctx, id)
}

func (c *cluster) Protocol(ctx context.Context, id rest.JobID) ([]byte, error) {
	if _, err := c.Get(ctx, id); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if text := c.text[id.String()]; text != "" {
		return []byte(text), nil
	}
	return fmt.Appendf(nil, yaml, id.Name), nil
}

func (c *cluster) Stop(_ context.Context, id rest.JobID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.jobs {
		if s.User == id.User && s.Name == id.Name && !s.State.Ended() {
			c.jobs[i].State, c.jobs[i].StopAsked, c.jobs[i].Ended = job.StateStopped, true, time.Now()
		}
	}
	return nil
}

// Logs writes 1200 lines and then one every 200 ms.
func (c *cluster) Logs(ctx context.Context, id rest.JobID, o rest.LogOptions) (io.ReadCloser, error) {
	if _, err := c.Get(ctx, id); err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	start := c.outputSince
	go func() {
		line := func(i int) bool {
			when := start.Add(time.Duration(i) * time.Second)
			if !o.Since.IsZero() && when.Before(o.Since.Truncate(time.Second)) {
				return true
			}
			_, err := fmt.Fprintf(in, "%s step %d loss %.4f %s\n", when.Format(time.RFC3339Nano), i, 4/float64(i+1), map[bool]string{true: hostile}[i%100 == 0])
			return err == nil
		}
		for i := 0; i < 1200; i++ {
			if !line(i) {
				return
			}
		}
		for i := 1200; o.Follow && line(i); i++ {
			select {
			case <-ctx.Done():
				in.CloseWithError(io.ErrUnexpectedEOF)
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
		in.Close()
	}()
	return out, nil
}

func report() pai.PublishedReport {
	usual := 1.0
	r := pai.PublishedReport{ID: "20261127-0300", Verb: "upgrade", From: pair("v0.10"), To: pair("v0.11"), Outcome: pai.OutcomeSucceeded, Started: at(140), Ended: at(118)}
	r.Jobs = pai.JobsReport{Before: 3, After: 2, Finished: 1}
	r.PerJob = []pai.JobLine{
		{Job: "ada~train-resnet", VirtualCluster: "default", ContainersBefore: 2, ContainersAfter: 2, Machines: []string{"gpu-1", "gpu-2"}, Steps: []string{"machine/gpu-1/kubelet", "machine/gpu-2/kubelet"},
			Output: &pai.OutputPause{Pod: "pod-0", Container: "job", LongestSeconds: 1.1, UsualSeconds: &usual, ObservedSeconds: 1300}},
		{Job: "bob~etl", VirtualCluster: "default", ContainersBefore: 1, ContainersAfter: 1, Machines: []string{"gpu-1"}, UnobservedSeconds: 12},
	}
	return r
}

func pair(v string) pai.Pair {
	return pai.Pair{Services: pai.ServicesVersion(v), Kubernetes: pai.KubernetesVersion(v + "-pai")}
}

func (c *cluster) Operations(_ context.Context, id rest.JobID) ([]rest.JobOperation, error) {
	r := report()
	for _, l := range r.PerJob {
		if l.Job == id.String() {
			return []rest.JobOperation{{ID: r.ID, Verb: r.Verb, From: r.From, To: r.To, Outcome: r.Outcome, Started: r.Started, Ended: r.Ended, JobLine: l}}, nil
		}
	}
	return []rest.JobOperation{}, nil
}

func (c *cluster) Reports(context.Context) ([]pai.PublishedReport, error) {
	return []pai.PublishedReport{report()}, nil
}

func (c *cluster) Progress(context.Context) (*pai.PublishedProgress, error) {
	return &pai.PublishedProgress{ID: "20261127-0500", Verb: "upgrade", From: pair("v0.11"), To: pair("v0.12"), Started: at(3), Updated: time.Now(), Outcome: pai.OutcomeRunning, Total: 4, Done: 2,
		Steps: []pai.ProgressStep{{ID: "cluster/etcd-snapshot", Outcome: pai.OutcomeSucceeded, Seconds: 2.4}, {ID: "machine/cp-1/apiserver", Outcome: pai.OutcomeSucceeded, Seconds: 9.1},
			{ID: "machine/gpu-1/kubelet", Outcome: pai.OutcomeRunning}, {ID: "machine/gpu-2/kubelet", Outcome: pai.OutcomeWaiting}},
		Waiting: []pai.Waiting{{Machine: "gpu-2", Jobs: []pai.JobRef{{User: "ada", Name: "train-resnet"}}, Reason: "the containers of the job would end", Since: at(2)}}}, nil
}

func (c *cluster) AddTag(_ context.Context, id rest.JobID, tag string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.jobs {
		if s.User == id.User && s.Name == id.Name {
			c.jobs[i].Tags = append(slices.Clone(s.Tags), tag)
		}
	}
	return nil
}

func (c *cluster) RemoveTag(_ context.Context, id rest.JobID, tag string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.jobs {
		if s.User == id.User && s.Name == id.Name {
			c.jobs[i].Tags = slices.DeleteFunc(slices.Clone(s.Tags), func(t string) bool { return t == tag })
		}
	}
	return nil
}

func (c *cluster) Events(ctx context.Context, id rest.JobID) ([]openpai.Event, error) {
	if _, err := c.Get(ctx, id); err != nil {
		return nil, err
	}
	when := at(172).UTC().Format(time.RFC3339)
	return []openpai.Event{{UID: "1", TaskRoleName: "worker", Type: "Warning", Reason: "FailedScheduling", Message: "0/2 nodes are available " + hostile, FirstTimestamp: when, LastTimestamp: when, Count: 3}}, nil
}

func (c *cluster) VirtualClusters(context.Context) (map[string]openpai.VirtualCluster, error) {
	all := openpai.NewResources(64, 524288, 16)
	return map[string]openpai.VirtualCluster{
		"default":  openpai.Capacity(openpai.NewResources(48, 393216, 8), openpai.NewResources(48, 393216, 8), openpai.NewResources(20, 90000, 4), all),
		"research": openpai.Capacity(openpai.NewResources(16, 131072, 0), openpai.NewResources(16, 131072, 0), openpai.NewResources(0, 0, 0), all),
	}, nil
}

func (c *cluster) VirtualClusterUse(context.Context) ([]rest.VirtualClusterUse, error) {
	return []rest.VirtualClusterUse{}, nil
}

func (c *cluster) QueueOf(_ context.Context, vc string) (rest.VirtualClusterUse, error) {
	return rest.VirtualClusterUse{Name: vc, Resources: []rest.ResourceUse{}}, nil
}

func (c *cluster) NodeUse(context.Context) (map[string]rest.NodeUse, error) {
	return map[string]rest.NodeUse{"gpu-1": {Used: 2, Available: 2, Total: 4}, "gpu-2": {Used: 2, Available: 2, Total: 4}, "gpu-3": {}}, nil
}

func (c *cluster) Kinds(context.Context) ([]job.Kind, error) { return []job.Kind{}, nil }

func (c *cluster) Nodes(context.Context) (*corev1.NodeList, error) {
	node := func(name string, gpus string, ready corev1.ConditionStatus, cordoned bool) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}}, Spec: corev1.NodeSpec{Unschedulable: cordoned}}
		n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("256Gi"), "nvidia.com/gpu": resource.MustParse(gpus)}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, Message: strings.Repeat("kubelet stopped posting ", 1)}}
		n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", ContainerRuntimeVersion: "containerd://2.2.1", KernelVersion: "6.1.0-39-amd64", OSImage: "Debian GNU/Linux 12"}
		return n
	}
	return &corev1.NodeList{Items: []corev1.Node{node("gpu-1", "4", corev1.ConditionTrue, false), node("gpu-2", "4", corev1.ConditionTrue, true), node("gpu-3", "0", corev1.ConditionFalse, false)}}, nil
}

func (c *cluster) Pods(context.Context, string, string) (*corev1.PodList, error) {
	pod := func(name, user, jobName, machine, gpus string) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{pai.LabelUser: user, pai.LabelJob: jobName}, Annotations: map[string]string{pai.AnnotationJobName: jobName}}}
		p.Spec.NodeName, p.Status.Phase = machine, corev1.PodRunning
		p.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse(gpus)}}}}
		return p
	}
	return &corev1.PodList{Items: []corev1.Pod{pod("a", "ada", "train-resnet", "gpu-1", "2"), pod("b", "ada", "train-resnet", "gpu-2", "2"), pod("c", "bob", "etl", "gpu-1", "0")}}, nil
}
