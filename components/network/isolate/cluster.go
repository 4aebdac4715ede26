package isolate

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// publicAddress is the annotation of flannel with the address at which other machines
	// reach a machine.
	publicAddress = "flannel.alpha.coreos.com/public-ip"
	// AddressesAnnotation of a node has all addresses of the machine, which its network
	// program publishes, so that tasks of other machines do not reach them either.
	AddressesAnnotation = "pai.dev/addresses"
	// maxAddresses of one machine are believed.
	maxAddresses = 64
	// byJob is the index of EndpointSlices by the job whose tasks they have.
	byJob = "job"
)

// watcher knows what the API says about machines and tasks.
type watcher struct {
	client        kubernetes.Interface
	nodes, slices cache.SharedIndexInformer
	changed       chan struct{} // something changed since it was read
}

// newWatcher prepares to watch; it does not need the API yet.
func newWatcher(kubeconfig string) (*watcher, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return watch(client)
}

func watch(client kubernetes.Interface) (*watcher, error) {
	// Only the slices of services without an address, which each job has. Of objects, no
	// more is kept than is used: a large cluster has thousands of tasks.
	headless := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(reduce),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = corev1.IsHeadlessService }))
	all := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(reduce))
	w := &watcher{client: client, nodes: all.Core().V1().Nodes().Informer(), slices: headless.Discovery().V1().EndpointSlices().Informer(),
		changed: make(chan struct{}, 1)}
	if err := w.slices.AddIndexers(cache.Indexers{byJob: jobOfSlice}); err != nil {
		return nil, err
	}
	signal := func() {
		select {
		case w.changed <- struct{}{}:
		default: // it is known that something changed
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: func(any) { signal() }, UpdateFunc: func(_, _ any) { signal() }, DeleteFunc: func(any) { signal() }}
	for _, informer := range []cache.SharedIndexInformer{w.nodes, w.slices} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// reduce leaves of an object what is used here.
func reduce(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Node:
		kept := map[string]string{}
		for _, name := range []string{publicAddress, AddressesAnnotation} {
			if v, ok := o.Annotations[name]; ok {
				kept[name] = v
			}
		}
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.Name, ResourceVersion: o.ResourceVersion, Annotations: kept},
			Status: corev1.NodeStatus{Addresses: o.Status.Addresses}}, nil
	case *discoveryv1.EndpointSlice:
		r := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, ResourceVersion: o.ResourceVersion,
			Labels: map[string]string{discoveryv1.LabelServiceName: o.Labels[discoveryv1.LabelServiceName]}}}
		for _, e := range o.Endpoints {
			r.Endpoints = append(r.Endpoints, discoveryv1.Endpoint{Addresses: e.Addresses})
		}
		return r, nil
	}
	return object, nil
}

// jobOfSlice is the job that a slice belongs to: a job has one service, of its name.
func jobOfSlice(object any) ([]string, error) {
	s, ok := object.(*discoveryv1.EndpointSlice)
	if !ok || !strings.HasPrefix(s.Namespace, taskNamespaces) || s.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
}

func (w *watcher) run(ctx context.Context) {
	go w.nodes.RunWithContext(ctx)
	go w.slices.RunWithContext(ctx)
}

// synced reports whether everything was read once.
func (w *watcher) synced() bool { return w.nodes.HasSynced() && w.slices.HasSynced() }

// known is what the API says: it is complete if the watcher is synced.
func (w *watcher) known(jobs []string) known {
	k := known{Peers: map[string][]netip.Addr{}}
	for _, object := range w.nodes.GetStore().List() {
		node, ok := object.(*corev1.Node)
		if !ok {
			continue
		}
		reached := []string{node.Annotations[publicAddress]}
		for _, a := range node.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				reached = append(reached, a.Address)
			}
		}
		own := addresses(reached)
		k.Machines = append(k.Machines, own...)
		k.Closed = append(k.Closed, own...)
		published := addresses(strings.Split(node.Annotations[AddressesAnnotation], ","))
		k.Closed = append(k.Closed, published[:min(len(published), maxAddresses)]...)
	}
	k.Machines, k.Closed = sorted(k.Machines), sorted(k.Closed)
	for _, job := range jobs {
		objects, err := w.slices.GetIndexer().ByIndex(byJob, job)
		if err != nil {
			continue // the index exists
		}
		var peers []netip.Addr
		for _, object := range objects {
			if s, ok := object.(*discoveryv1.EndpointSlice); ok {
				for _, e := range s.Endpoints {
					peers = append(peers, addresses(e.Addresses)...)
				}
			}
		}
		k.Peers[job] = sorted(peers)
	}
	return k
}

// addresses are the IPv4 addresses of a list; what is none is left out.
func addresses(list []string) []netip.Addr {
	var found []netip.Addr
	for _, text := range list {
		if a, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil && a.Is4() {
			found = append(found, a)
		}
	}
	return found
}

func sorted(list []netip.Addr) []netip.Addr {
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// publishTimeout limits one request.
const publishTimeout = 10 * time.Second
