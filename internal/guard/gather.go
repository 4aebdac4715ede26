package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// gatherTimeout bounds how long one fact may take to be observed.
const gatherTimeout = 20 * time.Second

// API is what facts are read from; *kube.Client is one.
type API interface {
	Clientset() kubernetes.Interface
	Dynamic() dynamic.Interface
}

// LiveFacts gathers facts from the API and from the machines themselves.
type LiveFacts struct {
	// API gives a client, or an error while there is no cluster or its API is away.
	API func(ctx context.Context) (API, error)
	// Hosts are the machines by name.
	Hosts map[string]machine.Host
	// Files are the files that a step would write into its version's folder, by
	// path. Without it they are looked for on the machine.
	Files func(ctx context.Context, step plan.Step) (map[string]string, error)
}

var _ FactSource = LiveFacts{}

// Jobs are all running jobs.
func (l LiveFacts) Jobs(ctx context.Context) Fact[[]pai.Job] {
	ctx, cancel := within(ctx, "list the jobs")
	defer cancel()
	api, err := l.API(ctx)
	if err != nil {
		return Unknown[[]pai.Job](fmt.Errorf("reach the API: %w", err))
	}
	jobs, err := running.Jobs(ctx, api.Clientset(), api.Dynamic())
	if err != nil {
		return Unknown[[]pai.Job](err)
	}
	return Known(live(jobs))
}

// JobsOn are the running jobs of a machine, with their pods on it alone.
func (l LiveFacts) JobsOn(ctx context.Context, name string) Fact[[]pai.Job] {
	ctx, cancel := within(ctx, "list the jobs on "+name)
	defer cancel()
	api, err := l.API(ctx)
	if err != nil {
		return Unknown[[]pai.Job](fmt.Errorf("reach the API: %w", err))
	}
	jobs, err := running.JobsOn(ctx, api.Clientset(), name)
	if err != nil {
		return Unknown[[]pai.Job](err)
	}
	return Known(live(jobs))
}

func live(jobs []pai.Job) []pai.Job {
	return slices.DeleteFunc(jobs, func(j pai.Job) bool { return !j.Running() })
}

// Queued are the jobs that have neither begun to run nor ended.
func (l LiveFacts) Queued(ctx context.Context) Fact[[]pai.JobRef] {
	ctx, cancel := within(ctx, "list the jobs that wait")
	defer cancel()
	api, err := l.API(ctx)
	if err != nil {
		return Unknown[[]pai.JobRef](fmt.Errorf("reach the API: %w", err))
	}
	jobs, err := running.Jobs(ctx, api.Clientset(), api.Dynamic())
	if err != nil {
		return Unknown[[]pai.JobRef](err)
	}
	return Observed(running.Queued(ctx, api.Dynamic(), jobs))
}

// Containers are the living containers of a machine.
func (l LiveFacts) Containers(ctx context.Context, name string) Fact[[]running.Container] {
	host, err := l.host(name)
	if err != nil {
		return Unknown[[]running.Container](err)
	}
	return Observed(running.Containers(ctx, host))
}

// Kubelets are the versions of the kubelets in the cluster, from the API or,
// while that is away, from the machines. An API that hangs takes no time from
// the machines.
func (l LiveFacts) Kubelets(ctx context.Context) Fact[map[string]string] {
	fromAPI, cancel := within(ctx, "read the kubelets' versions from the API")
	versions, errAPI := l.kubeletsOfAPI(fromAPI)
	cancel()
	if errAPI == nil {
		return Known(versions)
	}
	versions, err := l.kubeletsOfMachines(ctx)
	if err != nil {
		return Unknown[map[string]string](errors.Join(errAPI, err))
	}
	return Known(versions)
}

// askedAtOnce is how many machines are asked side by side.
const askedAtOnce = 16

func (l LiveFacts) kubeletsOfMachines(ctx context.Context) (map[string]string, error) {
	ctx, cancel := within(ctx, "read the kubelets' versions on the machines")
	defer cancel()
	var mu sync.Mutex
	versions := map[string]string{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for name, host := range l.Hosts {
		group.Go(func() error {
			v, err := kubeletOnMachine(ctx, host)
			if err == nil && v != "" {
				mu.Lock()
				defer mu.Unlock()
				versions[name] = v
			}
			return err
		})
	}
	return versions, group.Wait()
}

func (l LiveFacts) kubeletsOfAPI(ctx context.Context) (map[string]string, error) {
	api, err := l.API(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach the API: %w", err)
	}
	nodes, err := api.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	versions := map[string]string{}
	for _, n := range nodes.Items {
		versions[n.Name] = n.Status.NodeInfo.KubeletVersion
	}
	return versions, nil
}

// Machine gathers the facts about the target of a step, other than its jobs
// and containers.
func (l LiveFacts) Machine(ctx context.Context, step plan.Step) Facts {
	ctx, cancel := within(ctx, "observe "+step.Target)
	defer cancel()
	var f Facts
	host, errHost := l.host(step.Target)
	if errHost == nil {
		l.observeMachine(ctx, host, step, &f)
	} else {
		f.unknownMachine(errHost)
	}
	api, errAPI := l.API(ctx)
	if errAPI != nil {
		f.unknownAPI(fmt.Errorf("reach the API: %w", errAPI))
		return f
	}
	f.Node = Observed(api.Clientset().CoreV1().Nodes().Get(ctx, step.Target, metav1.GetOptions{}))
	f.Pods = Observed(podsOn(ctx, api.Clientset(), step.Target))
	f.Kubelet = kubeletChange(f.Node, f.Kubelet)
	if errHost == nil && step.Kind == plan.KindKubelet {
		f.Config = Observed(l.kubeletConfigs(ctx, api.Clientset(), host, step, f.KubeletRuns))
	}
	return f
}

// kubeletChange adds the version that runs, which the API knows, to the one
// that would be started, which the machine knows.
func kubeletChange(node Fact[*corev1.Node], next Fact[Transition[string]]) Fact[Transition[string]] {
	if !node.known {
		return Unknown[Transition[string]](fmt.Errorf("read the kubelet's version: %s", node.why()))
	}
	if !next.known {
		return next
	}
	return Known(Transition[string]{From: node.value.Status.NodeInfo.KubeletVersion, To: next.value.To})
}

func (f *Facts) unknownAPI(err error) {
	f.Node, f.Pods = Unknown[*corev1.Node](err), Unknown[[]corev1.Pod](err)
	f.Kubelet, f.Config = Unknown[Transition[string]](err), Unknown[Transition[KubeletConfig]](err)
}

func (f *Facts) unknownMachine(err error) {
	f.Kubelet, f.Runtime, f.RuntimeCgroups = Unknown[Transition[string]](err), Unknown[Transition[string]](err), Unknown[Transition[string]](err)
	f.Config, f.RuntimeKillMode = Unknown[Transition[KubeletConfig]](err), Unknown[string](err)
	f.KubeletRuns, f.RuntimeUp = Unknown[bool](err), Unknown[bool](err)
}

// podsOn are the pods of a machine that have not ended.
func podsOn(ctx context.Context, core kubernetes.Interface, name string) ([]corev1.Pod, error) {
	list, err := core.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", name).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list the pods on %s: %w", name, err)
	}
	var pods []corev1.Pod
	for _, p := range list.Items {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			pods = append(pods, p)
		}
	}
	return pods, nil
}

func (l LiveFacts) host(name string) (machine.Host, error) {
	if h := l.Hosts[name]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("there is no connection to machine %s", name)
}

func within(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, gatherTimeout, fmt.Errorf("could not %s within %s", what, gatherTimeout))
}
