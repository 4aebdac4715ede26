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
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// gatherTimeout is the time limit for observing one fact.
const gatherTimeout = 20 * time.Second

// API is the client that facts are read with; *kube.Client implements it.
type API interface {
	Clientset() kubernetes.Interface
	Dynamic() dynamic.Interface
}

// LiveFacts observes facts through the API and on the machines.
type LiveFacts struct {
	// API returns a client, or an error if there is no cluster or its API server
	// is unavailable.
	API func(ctx context.Context) (API, error)
	// Hosts are the machines by name.
	Hosts map[string]machine.Host
	// ControlPlanes are the configured control-plane machines.
	ControlPlanes []config.Machine
	// Files returns the files that a step would write into the directory of its
	// version, by path. If it is nil, they are read from the machine.
	Files func(ctx context.Context, step plan.Step) (map[string]string, error)
}

var _ FactSource = LiveFacts{}

// fromAPI reads a fact through the API within gatherTimeout.
func fromAPI[T any](ctx context.Context, l LiveFacts, action string, read func(ctx context.Context, api API) (T, error)) Fact[T] {
	ctx, cancel := within(ctx, action)
	defer cancel()
	api, err := l.client(ctx)
	if err != nil {
		return Unknown[T](err)
	}
	return Observed(read(ctx, api))
}

func (l LiveFacts) client(ctx context.Context) (API, error) {
	api, err := l.API(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach the API: %w", err)
	}
	return api, nil
}

func (l LiveFacts) Jobs(ctx context.Context) Fact[[]pai.Job] {
	return fromAPI(ctx, l, "list the jobs", func(ctx context.Context, api API) ([]pai.Job, error) {
		return onlyRunning(running.Jobs(ctx, api.Clientset(), api.Dynamic()))
	})
}

func (l LiveFacts) JobsOn(ctx context.Context, name string) Fact[[]pai.Job] {
	return fromAPI(ctx, l, "list the jobs on "+name, func(ctx context.Context, api API) ([]pai.Job, error) {
		return onlyRunning(running.JobsOn(ctx, api.Clientset(), name))
	})
}

func onlyRunning(jobs []pai.Job, err error) ([]pai.Job, error) {
	return slices.DeleteFunc(jobs, func(j pai.Job) bool { return !j.Running() }), err
}

func (l LiveFacts) Queued(ctx context.Context) Fact[[]pai.JobRef] {
	return fromAPI(ctx, l, "list the queued jobs", func(ctx context.Context, api API) ([]pai.JobRef, error) {
		_, queued, err := running.All(ctx, api.Clientset(), api.Dynamic())
		return queued, err
	})
}

func (l LiveFacts) Containers(ctx context.Context, name string) Fact[[]running.Container] {
	host, err := l.host(name)
	if err != nil {
		return Unknown[[]running.Container](err)
	}
	return Observed(running.Containers(ctx, host))
}

// Kubelets returns the versions of the kubelets from the API or, if it is
// unavailable, from the machines. Each of the two has its own time limit.
func (l LiveFacts) Kubelets(ctx context.Context) Fact[map[string]string] {
	versions := fromAPI(ctx, l, "read the kubelet versions from the API", kubeletsFromAPI)
	if versions.known {
		return versions
	}
	onMachines, err := l.kubeletsFromMachines(ctx)
	if err != nil {
		return Unknown[map[string]string](errors.Join(versions.err, err))
	}
	return Known(onMachines)
}

func kubeletsFromAPI(ctx context.Context, api API) (map[string]string, error) {
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

// parallelMachines is how many machines are read in parallel.
const parallelMachines = 16

func (l LiveFacts) kubeletsFromMachines(ctx context.Context) (map[string]string, error) {
	ctx, cancel := within(ctx, "read the kubelet versions on the machines")
	defer cancel()
	var mu sync.Mutex
	versions := map[string]string{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelMachines)
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

// Machine returns the facts about the target of a step, except its jobs and
// containers.
func (l LiveFacts) Machine(ctx context.Context, step plan.Step) Facts {
	ctx, cancel := within(ctx, "observe "+step.Target)
	defer cancel()
	var f Facts
	host, errHost := l.host(step.Target)
	switch {
	case step.Kind == plan.KindDrain: // it changes no program
	case errHost == nil:
		l.observeMachine(ctx, host, step, &f)
	default:
		f.setMachineUnknown(errHost)
	}
	api, err := l.client(ctx)
	if err != nil {
		f.setAPIUnknown(err)
		return f
	}
	f.Node = Observed(api.Clientset().CoreV1().Nodes().Get(ctx, step.Target, metav1.GetOptions{}))
	f.Pods = Observed(running.PodsOn(ctx, api.Clientset(), step.Target, ""))
	f.Kubelet = kubeletTransition(f.Node, f.Kubelet)
	if errHost == nil && step.Kind == plan.KindKubelet {
		f.Config = Observed(l.kubeletConfigs(ctx, api.Clientset(), host, step, f.KubeletRuns))
	}
	return f
}

// kubeletTransition joins the running version, which the API knows, and the
// next version, which the machine knows.
func kubeletTransition(node Fact[*corev1.Node], next Fact[Transition[string]]) Fact[Transition[string]] {
	if unknown := node.unknownReason(); unknown != "" {
		return Unknown[Transition[string]](fmt.Errorf("read the kubelet version: %s", unknown))
	}
	if next.known {
		next.value.From = node.value.Status.NodeInfo.KubeletVersion
	}
	return next
}

func (f *Facts) setAPIUnknown(err error) {
	f.Node, f.Pods = Unknown[*corev1.Node](err), Unknown[[]corev1.Pod](err)
	f.Kubelet, f.Config = Unknown[Transition[string]](err), Unknown[Transition[KubeletConfig]](err)
}

func (f *Facts) setMachineUnknown(err error) {
	f.Kubelet, f.Runtime, f.RuntimeCgroups = Unknown[Transition[string]](err), Unknown[Transition[string]](err), Unknown[Transition[string]](err)
	f.Config, f.RuntimeKillMode = Unknown[Transition[KubeletConfig]](err), Unknown[string](err)
	f.KubeletRuns, f.RuntimeUp = Unknown[bool](err), Unknown[bool](err)
	f.Shims = Unknown[[]inspect.Shim](err)
}

func (l LiveFacts) host(name string) (machine.Host, error) {
	if h := l.Hosts[name]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("no connection to machine %s", name)
}

func within(ctx context.Context, action string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, gatherTimeout, fmt.Errorf("could not %s within %s", action, gatherTimeout))
}
