package isolate

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"k8s.io/klog/v2"
)

const (
	// podInterval is how often the keeper looks for new pods.
	podInterval = 100 * time.Millisecond
	// tableInterval is how often it looks whether the rules are there.
	tableInterval = time.Second
	// listInterval is how often it compares the rules with what it wrote.
	listInterval = 10 * time.Second
	// publishInterval is how often it looks for new addresses of this machine.
	publishInterval = 30 * time.Second
)

// Options are the arguments of New.
type Options struct {
	Config     Config
	Bridge     string       // of pods
	Pods       netip.Prefix // addresses of the pods of all machines
	Results    string       // directory of the files of CNI
	State      string       // what the next start needs
	Kubeconfig string
	Node       string // this machine
}

// Keeper keeps the rules of this machine.
type Keeper struct {
	Options
	pods    podFiles
	watcher *watcher
	state   state

	list    []pod  // the pods of this machine
	applied string // the text of the rules that are written; empty if they have to be written
	written written
	limit   limit
	own     []netip.Addr
	bridged bool // the kernel does not pass bridged packets on

	mu     sync.Mutex
	guards []*guard
}

// New prepares to keep rules. It does not need the API.
func New(o Options) (*Keeper, error) {
	w, err := newWatcher(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	k := &Keeper{Options: o, watcher: w}
	k.pods = podFiles{dir: o.Results, bridge: o.Bridge, exists: func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}}
	if k.state, err = loadState(o.State); err != nil {
		klog.ErrorS(err, "what the API said last is not known; it comes back with the API")
	}
	return k, nil
}

// Run keeps the rules until ctx ends, and leaves them then.
func (k *Keeper) Run(ctx context.Context) {
	k.watcher.run(ctx)
	tick := time.NewTicker(podInterval)
	defer tick.Stop()
	var looked, listed, published time.Time
	for {
		now := time.Now()
		if now.Sub(looked) >= tableInterval {
			looked = now
			k.check(ctx, now.Sub(listed) >= listInterval)
			if now.Sub(listed) >= listInterval {
				listed = now
			}
		}
		if err := k.update(ctx, looked.Equal(now)); err != nil && ctx.Err() == nil {
			klog.ErrorS(err, "the rules of tasks were not written; trying again")
			k.applied = ""
			looked = now
		}
		if looked.Equal(now) {
			k.limitConnections(ctx, now)
		}
		if now.Sub(published) >= publishInterval && k.watcher.nodes.HasSynced() {
			published = now
			k.publishOwn(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// update reads what changed and writes the rules if they differ.
func (k *Keeper) update(ctx context.Context, force bool) error {
	pods, changed, err := k.pods.list(force)
	if err != nil {
		return fmt.Errorf("read the pods of this machine: %w", err)
	}
	if changed {
		k.list = pods
	}
	select {
	case <-k.watcher.changed:
		changed = true
	default:
	}
	if !changed && k.applied != "" {
		return nil
	}
	if err := k.record(); err != nil {
		klog.ErrorS(err, "what the next start needs was not stored")
	}
	text := k.rules().text()
	if text == k.applied {
		return nil
	}
	if _, err := run(ctx, text, "nft", "-f", "-"); err != nil {
		return err
	}
	k.applied = text
	shown, err := listing(ctx)
	if err != nil {
		return fmt.Errorf("read the rules that were written: %w", err)
	}
	k.written = k.written.next(text, shown)
	return nil
}

// written are the rules that were written last.
type written struct {
	text  string
	shown string // how nft shows them
	sure  bool   // shown is what was written
}

// next is the result of another write. Something can have changed the rules before nft
// showed them, and would never be noticed. So they are written twice, a second apart, and
// count when nft shows the same both times. It can list the elements of a set in another order.
func (w written) next(text, shown string) written {
	return written{text, shown, text == w.text && slices.Equal(words(shown), words(w.shown))}
}

func words(text string) []string {
	all := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == ',' })
	slices.Sort(all)
	return all
}

// record stores what the API says, and the policies of new tasks.
func (k *Keeper) record() error {
	next := state{Known: k.state.Known, Policies: map[string]Policy{}}
	if k.watcher.synced() {
		next.Known = k.watcher.known(k.jobs())
	}
	for _, p := range k.list {
		if p.job == "" {
			continue
		}
		policy, ok := k.state.Policies[p.id]
		if !ok {
			policy = k.Config.Policy
		}
		next.Policies[p.id] = policy
	}
	same := next.equal(k.state)
	k.state = next
	if same {
		return nil
	}
	return saveState(k.State, next)
}

// jobs are those with tasks on this machine.
func (k *Keeper) jobs() []string {
	var jobs []string
	for _, p := range k.list {
		if p.job != "" {
			jobs = append(jobs, p.job)
		}
	}
	slices.Sort(jobs)
	return slices.Compact(jobs)
}

// rules are the rules for what is known.
func (k *Keeper) rules() rules {
	r := rules{bridge: k.Bridge, pods: k.Pods, services: k.Config.Services, dns: k.Config.DNS, policy: k.Config.Policy,
		machines: k.state.Known.Machines, closed: k.state.Known.Closed, peers: k.state.Known.Peers, bridged: k.bridged}
	for _, p := range k.list {
		if p.job == "" {
			r.platform = append(r.platform, p.address)
			continue
		}
		r.tasks = append(r.tasks, task{address: p.address, port: p.port, mac: strings.ToLower(p.mac), job: p.job, policy: k.state.Policies[p.id]})
	}
	slices.SortFunc(r.tasks, func(a, b task) int { return a.address.Compare(b.address) })
	return r
}

// check looks whether the rules, and those of others that it guards, are still there.
func (k *Keeper) check(ctx context.Context, compare bool) {
	there, err := tables(ctx)
	if err != nil {
		klog.ErrorS(err, "the rules of this machine are not known")
		return
	}
	if k.applied != "" && (!there[hostTable] || !there[bridgeTable]) {
		klog.InfoS("something removed the rules of tasks; writing them again")
		k.applied = ""
	}
	if !there[connectionTable] {
		k.limit.applied = ""
	}
	if bridged := !passesBridged(); bridged != k.bridged {
		k.bridged, k.applied = bridged, ""
	}
	if !k.written.sure {
		k.applied = ""
	}
	k.mu.Lock()
	guards := slices.Clone(k.guards)
	k.mu.Unlock()
	for _, g := range guards {
		g.look(ctx, there[g.table])
	}
	if k.applied == "" || !compare {
		return
	}
	shown, err := listing(ctx)
	if err == nil && shown == k.written.shown {
		return
	}
	klog.InfoS("something changed the rules of tasks; writing them again", "err", err)
	k.applied = ""
}

// passesBridged reports whether the kernel passes bridged packets on to rules for IP. An
// operator can turn it off at any time.
func passesBridged() bool {
	data, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && strings.TrimSpace(string(data)) != "0"
}

// publishOwn publishes the addresses of this machine when they have changed.
func (k *Keeper) publishOwn(ctx context.Context) {
	own, err := hostAddresses()
	if err == nil && !slices.Equal(own, k.own) {
		if err = k.watcher.publish(ctx, k.Node, own); err == nil {
			k.own = own
		}
	}
	if err != nil && ctx.Err() == nil {
		klog.ErrorS(err, "tasks of other machines can reach addresses of this one that its node does not have; trying again")
	}
}
