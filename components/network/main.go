package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw" // registers "host-gw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"  // registers "vxlan"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
	"k8s.io/klog/v2"

	"pai.dev/components/network/isolate"
)

// annotationPrefix starts the node annotations in which machines publish their
// addresses. It is the default of flannel.
const annotationPrefix = "flannel.alpha.coreos.com"

// retryPause is how long to wait before asking again for something that is
// not there yet: the API, or the node's podCIDR.
const retryPause = time.Second

type options struct {
	kubeconfig string
	config     string // flannel's net-conf.json
	address    string // this machine's address, which the others reach it at
	state      string // what was set, kept for the next start
	tasks      string // what is known of tasks, kept for the next start
	bridge     string // of the pods of this machine
	results    string // where CNI stores which pods there are
	proxy      string // the unit of kube-proxy
}

func main() {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the network program")
	flag.StringVar(&o.config, "config", "", "network configuration (flannel's net-conf.json)")
	flag.StringVar(&o.address, "address", "", "this machine's address")
	flag.StringVar(&o.state, "state", "/var/lib/pai/network/routes", "file that keeps the routes for the next start")
	flag.StringVar(&o.tasks, "tasks", "/var/lib/pai/network/tasks.json", "file that keeps what is known of tasks for the next start")
	flag.StringVar(&o.bridge, "bridge", "pai0", "bridge of the pods")
	flag.StringVar(&o.results, "results", "/var/lib/cni/results", "directory in which CNI stores which pods there are")
	flag.StringVar(&o.proxy, "proxy-unit", "pai-kube-proxy.service", "unit that is restarted if its rules were removed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "network:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if os.Getenv("NODE_NAME") == "" {
		return fmt.Errorf("NODE_NAME is not set")
	}
	netConf, err := os.ReadFile(o.config)
	if err != nil {
		return fmt.Errorf("read the network configuration: %w", err)
	}
	config, err := subnet.ParseConfig(string(netConf))
	if err != nil {
		return fmt.Errorf("parse the network configuration %s: %w", o.config, err)
	}
	family, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return fmt.Errorf("read the address families of %s: %w", o.config, err)
	}
	iface, err := ipmatch.LookupExtIface(o.address, "", "", family, ipmatch.PublicIPOpts{PublicIP: o.address})
	if err != nil {
		return fmt.Errorf("find the interface that has the address %s: %w", o.address, err)
	}
	if err := restore(o.state, iface.Iface.Index); err != nil {
		klog.ErrorS(err, "the routes of the last start were not restored; they come back with the API")
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	guard, err := isolateTasks(ctx, &wg, o, netConf, config)
	if err != nil {
		return err
	}

	manager, err := subnetManager(ctx, o)
	if err != nil {
		return err
	}
	return serve(ctx, o, config, iface, manager, guard)
}

// guardTable has something restored when a table of nftables was removed.
type guardTable func(table string, restore func(context.Context) error)

// isolateTasks keeps tasks apart, if the configuration says what they reach. It does not
// wait for the API.
func isolateTasks(ctx context.Context, wg *sync.WaitGroup, o options, netConf []byte, config *subnet.Config) (guardTable, error) {
	tasks, err := isolate.ReadConfig(netConf)
	if err != nil {
		return nil, fmt.Errorf("read what tasks can reach in %s: %w", o.config, err)
	}
	if tasks == nil {
		return func(string, func(context.Context) error) {}, nil
	}
	pods, err := netip.ParsePrefix(config.Network.String())
	if err != nil {
		return nil, fmt.Errorf("read the addresses of pods in %s: %w", o.config, err)
	}
	keeper, err := isolate.New(isolate.Options{Config: *tasks, Bridge: o.bridge, Pods: pods, Results: o.results, State: o.tasks,
		Kubeconfig: o.kubeconfig, Node: os.Getenv("NODE_NAME")})
	if err != nil {
		return nil, fmt.Errorf("keep tasks apart: %w", err)
	}
	keeper.GuardUnit("ip kube-proxy", o.proxy)
	wg.Go(func() { keeper.Run(ctx) })
	wg.Go(func() { isolate.KeepAnchor(ctx) })
	return keeper.Guard, nil
}

// subnetManager connects to the API, and waits for it as long as it takes.
func subnetManager(ctx context.Context, o options) (subnet.Manager, error) {
	for {
		manager, err := kube.NewSubnetManager(ctx, "", o.kubeconfig, annotationPrefix, o.config, true)
		if err == nil {
			return manager, nil
		}
		klog.ErrorS(err, "the API server is not responding; trying again")
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// serve registers this machine and keeps the routes to the others until ctx ends.
func serve(ctx context.Context, o options, config *subnet.Config, iface *backend.ExternalInterface, manager subnet.Manager, guard guardTable) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	driver, err := backend.NewManager(ctx, manager, iface).GetBackend(config.BackendType)
	if err != nil {
		return fmt.Errorf("start the network's %s back end: %w", config.BackendType, err)
	}
	network, err := register(ctx, &wg, driver, config)
	if err != nil {
		return err
	}
	own := network.Lease()
	if err := setRules(ctx, config, own); err != nil {
		return err
	}
	guard("ip flannel-ipv4", func(ctx context.Context) error { return setRules(ctx, config, own) })

	wg.Go(func() { network.Run(ctx) })
	wg.Go(func() { keep(ctx, o.state, config.Network.ToIPNet(), own.Subnet.ToIPNet()) })
	if err := manager.CompleteLease(ctx, own, &wg); err != nil {
		return fmt.Errorf("report the network as ready: %w", err)
	}
	klog.InfoS("pods of other machines are reached", "backend", config.BackendType, "pods", own.Subnet.String())
	<-ctx.Done()
	return nil
}

// setRules masquerades what leaves the cluster, and accepts what pods send.
func setRules(ctx context.Context, config *subnet.Config, own *lease.Lease) error {
	traffic := &nftables.NFTablesManager{}
	if err := traffic.Init(ctx); err != nil {
		return fmt.Errorf("use nftables: %w", err)
	}
	var none ip.IP4Net
	var none6 ip.IP6Net
	if err := traffic.SetupAndEnsureMasqRules(ctx, config.Network, none, none, config.IPv6Network, none6, none6, own, 0, false); err != nil {
		return fmt.Errorf("masquerade what pods send out of the cluster: %w", err)
	}
	traffic.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, 0)
	return nil
}

// register publishes how other machines reach this one. It waits for the node and
// its podCIDR, which the kubelet step creates.
func register(ctx context.Context, wg *sync.WaitGroup, driver backend.Backend, config *subnet.Config) (backend.Network, error) {
	for {
		network, err := driver.RegisterNetwork(ctx, wg, config)
		if err == nil {
			return network, nil
		}
		klog.ErrorS(err, "the node is not ready to be registered; trying again")
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(retryPause):
		return nil
	}
}
