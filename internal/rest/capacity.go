package rest

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// clusterQueues are the quotas of Kueue, one per virtual cluster. Each version of Kueue
// serves at least one of these.
var (
	clusterQueues      = schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: "clusterqueues"}
	newerClusterQueues = schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta2", Resource: "clusterqueues"}
)

const gpuResource = "nvidia.com/gpu"

// VirtualClusters implements ClusterAPI.
func (c *Core) VirtualClusters(ctx context.Context) (map[string]openpai.VirtualCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) (map[string]openpai.VirtualCluster, error) {
		all, err := c.allocatable(ctx)
		if err != nil {
			return nil, apiError("list the machines", err)
		}
		quotas, err := c.quotas(ctx)
		if err != nil {
			return nil, err
		}
		clusters := map[string]openpai.VirtualCluster{}
		for _, vc := range c.virtualClusters {
			queue, err := c.queueOf(ctx, vc)
			if err != nil {
				return nil, apiError("read the quota of virtual cluster "+vc, err)
			}
			quota, most, used := all, all, openpai.Resources{}
			if queue != nil {
				quota, used = quotaOfQueue(queue), usageOfQueue(queue)
				most = openpai.NewResources(quotas["cpu"].most(vc)/1000, quotas["memory"].most(vc)>>20, quotas[gpuResource].most(vc))
			}
			clusters[vc] = openpai.Capacity(quota, most, used, all)
		}
		return clusters, nil
	})
}

// queueOf is the queue of a virtual cluster; nil if it does not exist (yet).
func (c *Core) queueOf(ctx context.Context, vc string) (*unstructured.Unstructured, error) {
	var queue *unstructured.Unstructured
	var err error
	for _, version := range []schema.GroupVersionResource{clusterQueues, newerClusterQueues} {
		queue, err = c.cluster.Dynamic().Resource(version).Get(ctx, vc, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return queue, err
		}
	}
	return nil, nil
}

// eachMachine calls do with each machine. A machine has much in memory, so they are read in
// pages.
func (c *Core) eachMachine(ctx context.Context, do func(*corev1.Node)) error {
	return eachItem(ctx, "", listing(c.cluster.Clientset().CoreV1().Nodes().List), func(n *corev1.Node) error {
		do(n)
		return nil
	})
}

func (c *Core) allocatable(ctx context.Context) (openpai.Resources, error) {
	var cpu, memory, gpu int64
	err := c.eachMachine(ctx, func(n *corev1.Node) {
		if n.Spec.Unschedulable {
			return
		}
		cpu += n.Status.Allocatable.Cpu().Value()
		memory += n.Status.Allocatable.Memory().Value() >> 20
		quantity := n.Status.Allocatable[gpuResource]
		gpu += quantity.Value()
	})
	return openpai.NewResources(cpu, memory, gpu), err
}

// NodeUse is what the portal shows of a machine.
type NodeUse struct {
	Used      int64 `json:"gpuUsed"`
	Available int64 `json:"gpuAvailable"`
	Total     int64 `json:"gpuTotal"`
}

// NodeUse implements ClusterAPI. It reads all pods of jobs, and counts as a list.
func (c *Core) NodeUse(ctx context.Context) (map[string]NodeUse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	release, err := c.makeList(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return reading(ctx, c.nodeUse)
}

func (c *Core) nodeUse(ctx context.Context) (map[string]NodeUse, error) {
	machines := map[string]NodeUse{}
	err := c.eachMachine(ctx, func(n *corev1.Node) {
		quantity := n.Status.Allocatable[gpuResource]
		machines[n.Name] = NodeUse{Available: quantity.Value(), Total: quantity.Value()}
	})
	if err != nil {
		return nil, apiError("list the machines", err)
	}
	for _, vc := range c.virtualClusters {
		err := eachItem(ctx, pai.LabelJob, listing(c.cluster.Clientset().CoreV1().Pods(job.Namespace(vc)).List), func(p *corev1.Pod) error {
			m, known := machines[p.Spec.NodeName]
			if known && (p.Status.Phase == corev1.PodRunning || p.Status.Phase == corev1.PodPending) {
				m.Used += gpusOf(p)
				m.Available = max(0, m.Total-m.Used)
				machines[p.Spec.NodeName] = m
			}
			return nil
		})
		if err != nil {
			return nil, apiError("list the pods", err)
		}
	}
	return machines, nil
}

func gpusOf(p *corev1.Pod) (n int64) {
	for _, c := range p.Spec.Containers {
		quantity := c.Resources.Limits[gpuResource]
		n += quantity.Value()
	}
	return n
}

// quotaOfQueue adds up the quotas of all flavors.
func quotaOfQueue(queue *unstructured.Unstructured) openpai.Resources {
	sum := map[string]int64{}
	groups, _, _ := unstructured.NestedSlice(queue.Object, "spec", "resourceGroups")
	for _, g := range groups {
		for _, f := range nestedList(g, "flavors") {
			for _, r := range nestedList(f, "resources") {
				addQuantity(sum, r, "nominalQuota")
			}
		}
	}
	return resourcesOf(sum)
}

func usageOfQueue(queue *unstructured.Unstructured) openpai.Resources {
	sum := map[string]int64{}
	flavors, _, _ := unstructured.NestedSlice(queue.Object, "status", "flavorsUsage")
	for _, f := range flavors {
		for _, r := range nestedList(f, "resources") {
			addQuantity(sum, r, "total")
		}
	}
	return resourcesOf(sum)
}

func nestedList(value any, field string) []any {
	m, _ := value.(map[string]any)
	list, _ := m[field].([]any)
	return list
}

// addQuantity adds a quantity, which does not add up to more than 64 bits have.
func addQuantity(sum map[string]int64, value any, field string) {
	m, _ := value.(map[string]any)
	name, _ := m["name"].(string)
	text, _ := m[field].(string)
	if q, err := resource.ParseQuantity(text); err == nil {
		sum[name] = min(sum[name]+q.Value(), 1<<62)
	}
}

func resourcesOf(sum map[string]int64) openpai.Resources {
	return openpai.NewResources(sum["cpu"], sum["memory"]>>20, sum[gpuResource])
}

// Nodes implements ClusterAPI.
func (c *Core) Nodes(ctx context.Context) (*corev1.NodeList, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nodes, err := reading(ctx, func(ctx context.Context) (*corev1.NodeList, error) {
		list, err := c.cluster.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, apiError("list the machines", err)
		}
		return list, nil
	})
	if err == nil {
		nodes.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}
	}
	return nodes, err
}

// maxPods is how many pods a list has at most: an answer is made in memory.
const maxPods = 5000

// Pods implements ClusterAPI. Pods of services are not in it: the server cannot read
// them.
func (c *Core) Pods(ctx context.Context, namespace, selector string) (*corev1.PodList, error) {
	asked, err := labels.Parse(selector)
	if err != nil {
		return nil, pai.Errorf(pai.CodeInvalid, "", "invalid label selector: %w", err)
	}
	ofJobs, err := labels.NewRequirement(pai.LabelJob, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	selector = asked.Add(*ofJobs).String()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	release, err := c.makeList(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	all := &corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: []corev1.Pod{}}
	for _, vc := range c.virtualClusters {
		if namespace != "" && namespace != job.Namespace(vc) {
			continue
		}
		err := eachItem(ctx, selector, listing(c.cluster.Clientset().CoreV1().Pods(job.Namespace(vc)).List), func(p *corev1.Pod) error {
			p.ManagedFields = nil
			if len(all.Items) >= maxPods {
				return pai.Errorf(pai.CodeInvalid, "ask for one namespace or for labels", "there are more than %d pods", maxPods)
			}
			all.Items = append(all.Items, *p)
			return nil
		})
		if err != nil {
			return nil, apiErrorUnlessKnown("list the pods", err)
		}
	}
	return all, nil
}

// Events implements ClusterAPI.
func (c *Core) Events(ctx context.Context, id JobID) ([]openpai.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o, err := c.observed(ctx, id)
	if err != nil {
		return nil, err
	}
	return reading(ctx, func(ctx context.Context) ([]openpai.Event, error) {
		events, err := c.eventsOf(ctx, o.status)
		if err != nil {
			return nil, apiError("list the events of the job", err)
		}
		return events, nil
	})
}

// maxEvents is how many events of a job an answer has at most.
const maxEvents = 1000

// eventsOf reads the events of all pods in the namespace in pages: a job can have more
// tasks than requests should be made.
func (c *Core) eventsOf(ctx context.Context, s job.Status) ([]openpai.Event, error) {
	type place struct {
		role string
		task job.TaskStatus
	}
	tasks := map[string]place{} // by pod
	for role, r := range openpai.Roles(s) {
		for _, t := range r.Tasks {
			tasks[t.Pod] = place{role, t}
		}
	}
	delete(tasks, "") // tasks without a pod
	events, options := []openpai.Event{}, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod", Limit: pageSize}
	for len(tasks) > 0 {
		page, err := c.cluster.Clientset().CoreV1().Events(s.Namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Items {
			if at, found := tasks[e.InvolvedObject.Name]; found && len(events) < maxEvents {
				events = append(events, openpai.ReadEvent(s, at.role, at.task, e))
			}
		}
		if options.Continue = page.Continue; options.Continue == "" || len(events) >= maxEvents {
			break
		}
	}
	return events, nil
}
