package observe

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/service"
)

// machineTimeout limits the observation of one machine.
const machineTimeout = 60 * time.Second

// Source is what World reads.
type Source struct {
	Config   *config.Config
	Releases []release.Manifest
	// Hosts are the machines by name.
	Hosts map[string]machine.Host
	// Seed names the control-plane machine that stands for all; see cluster.Seed. It can
	// be empty where there is one.
	Seed string
	// Records are those of the cluster; nil for those of the one control-plane machine.
	Records cluster.Records
	// Operator is the key of the operator; nil if this host has none yet.
	Operator ed25519.PublicKey
	// Kube returns a client, or an error if there is no cluster or its API server
	// is unavailable.
	Kube func(ctx context.Context) (*kube.Client, error)
}

func (s Source) seed() string { return cmp.Or(s.Seed, s.Config.ControlPlane().Hostname) }

// World observes everything once: all machines in parallel, then the cluster. The
// result has the reason for every unreachable machine. If the API server is not
// responding, APIReachable is false and APIError is set. The only errors are a
// canceled context and an invalid record.
func World(ctx context.Context, src Source) (plan.World, error) {
	w := plan.World{Machines: machines(ctx, src), Services: map[string]plan.Installed{}, Schema: src.Config.Layout.SchemaVersion}
	if err := ctx.Err(); err != nil {
		return w, err
	}
	if err := readRecord(ctx, src, &w); err != nil {
		return w, err
	}
	readUnconfigured(ctx, src, &w)
	if why := w.UnknownControlPlane(); why != "" {
		w.APIError = "the control-plane machine was not observed: " + why
		return w, nil
	}
	if !apiServerRuns(w.Machines) {
		if w.Current.Kubernetes != "" {
			w.APIError = "no API server runs on the control-plane machine"
		}
		return w, nil
	}
	if err := readCluster(ctx, src, &w); err != nil {
		if ctx.Err() != nil {
			return w, ctx.Err()
		}
		w.APIReachable = false
		w.APIError = err.Error()
	}
	return w, nil
}

// readRecord reads the cluster ID, the recorded versions, and the machines in
// maintenance which also works during an API outage.
func readRecord(ctx context.Context, src Source, w *plan.World) error {
	records := src.Records
	if host := src.Hosts[src.seed()]; records == nil && host != nil {
		records = host
	}
	if records == nil {
		return nil // the result has the machine as unreachable
	}
	ctx, cancel := context.WithTimeout(ctx, machineTimeout)
	defer cancel()
	id, pair, err := cluster.Recorded(ctx, records)
	w.ClusterID, w.Current.Kubernetes, w.RecordedServices = id, pair.Kubernetes, pair.Services
	if err != nil {
		return err
	}
	maintained, err := cluster.Maintained(ctx, records)
	for i, m := range w.Machines {
		if record, found := maintained[m.Name]; found {
			w.Machines[i].Maintenance = &record
			delete(maintained, m.Name)
		}
	}
	w.Unconfigured.Maintained = slices.Sorted(maps.Keys(maintained))
	return err
}

func apiServerRuns(machines []plan.MachineState) bool {
	for _, m := range machines {
		if m.Roles[plan.RoleAPIServerA].Running != "" || m.Roles[plan.RoleAPIServerB].Running != "" {
			return true
		}
	}
	return false
}

func machines(ctx context.Context, src Source) []plan.MachineState {
	list := src.Config.Layout.MachineList
	found := make([]plan.MachineState, len(list))
	var wg sync.WaitGroup
	for i, m := range list {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, machineTimeout)
			defer cancel()
			var backups *inspect.BackupState
			found[i], backups = observeMachine(ctx, src.Hosts[m.Hostname])
			if m.Hostname == src.Config.ControlPlane().Hostname && found[i].Unreachable == "" {
				found[i].BackupTimer = cluster.BackupTimerDiffers(src.Config, backups, src.Operator)
			}
			found[i].Foreign = withoutVolumes(found[i].Foreign, src.Releases)
			found[i].Name = m.Hostname
			found[i].Address = m.HostIP
			found[i].ControlPlane = m.IsControlPlane()
			found[i].Kind = cluster.KindOf(src.Config, m)
		})
	}
	wg.Wait()
	return found
}

func observeMachine(ctx context.Context, host machine.Host) (plan.MachineState, *inspect.BackupState) {
	if host == nil {
		return plan.MachineState{Unreachable: "no connection"}, nil
	}
	m, backups, err := cluster.Observe(ctx, host)
	if err != nil {
		return plan.MachineState{Unreachable: err.Error()}, nil
	}
	return m, backups
}

func readCluster(ctx context.Context, src Source, w *plan.World) error {
	client, err := src.Kube(ctx)
	if err != nil {
		return err
	}
	nodes, err := client.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	w.APIReachable = true
	addNodes(w, nodes.Items)
	if w.Manifests, err = cluster.AppliedManifests(ctx, client); err != nil {
		return err
	}
	if src.Config.SeveralControlPlanes() {
		if w.LocalEndpoints, err = cluster.UsesAPIAddress(ctx, client, src.Config); err != nil {
			return err
		}
	}
	if w.Services, err = service.Observe(ctx, client); err != nil {
		return fmt.Errorf("read the services: %w", err)
	}
	w.Unconfigured.Services = unconfiguredServices(src, *w)
	w.Current.Services = w.OldestInstalled()
	if w.Jobs, w.Queued, err = running.All(ctx, client.Clientset(), client.Dynamic()); err != nil {
		return fmt.Errorf("read the jobs: %w", err)
	}
	return nil
}

func addNodes(w *plan.World, nodes []corev1.Node) {
	w.Unconfigured.Nodes = []plan.UnconfiguredNode{}
	positions := make(map[string]int, len(w.Machines))
	for i, m := range w.Machines {
		positions[m.Name] = i
	}
	for i := range nodes {
		n := &nodes[i]
		at, inLayout := positions[n.Name]
		if !inLayout {
			w.Unconfigured.Nodes = append(w.Unconfigured.Nodes, unconfiguredNode(n))
			continue
		}
		w.Machines[at].Node = &plan.Node{
			Ready:            nodeReady(n),
			Kubelet:          n.Status.NodeInfo.KubeletVersion,
			Unschedulable:    n.Spec.Unschedulable,
			CordonedByPAI:    cluster.CordonedByPAI(n) != "",
			CordonedBy:       cluster.CordonedByPAI(n),
			Maintenance:      n.Annotations[pai.AnnotationMaintenance],
			InMaintenance:    n.Annotations[pai.AnnotationInMaintenance] != "",
			Unlabeled:        n.Annotations[pai.AnnotationMaintenance] != "" && n.Labels[pai.LabelMaintenance] == "",
			ContainerRuntime: n.Status.NodeInfo.ContainerRuntimeVersion,
			Kind:             cluster.NodeKind(n),
		}
	}
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
