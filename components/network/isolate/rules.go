package isolate

import (
	"fmt"
	"net/netip"
	"slices"
)

// The tables of the rules, as nft names them. v0.10 does not know them: a rollback
// removes them, and so does the removal of Kubernetes.
const (
	hostTable   = "inet pai-tasks"
	bridgeTable = "bridge pai-tasks"
)

// vxlanPort is the port at which machines exchange packets of pods.
const vxlanPort = 8472

// neverOutside are no networks outside of the cluster: this host, link-local
// addresses, which the metadata of a cloud has, multicast, and broadcast.
var neverOutside = []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"}

// rules is what the rules of a machine are made of.
type rules struct {
	bridge   string
	pods     netip.Prefix // of all machines
	services netip.Prefix
	dns      netip.Addr
	policy   Policy       // of tasks that start now
	machines []netip.Addr // at which machines reach each other
	closed   []netip.Addr // all addresses of machines
	platform []netip.Addr // pods of this machine that are not isolated
	tasks    []task
	peers    map[string][]netip.Addr // the tasks of a job on all machines
	// bridged means that the kernel does not pass bridged packets on to the rules for IP.
	bridged bool
}

// A task is an isolated pod of this machine.
type task struct {
	address netip.Addr
	port    string
	mac     string
	job     string
	policy  Policy
}

// text is the input of nft that replaces both tables at once.
func (r rules) text() string {
	w := &writer{}
	for _, table := range []string{hostTable, bridgeTable} {
		w.line("table %s {}", table)
		w.line("delete table %s", table)
	}
	jobs := r.jobs()
	w.block("table "+hostTable, func() {
		w.set("platform", "ipv4_addr", false, texts(r.platform))
		w.set("machines", "ipv4_addr", false, texts(r.machines))
		w.set("closed", "ipv4_addr", true, slices.Concat([]string{r.pods.String(), r.services.String()}, neverOutside, texts(r.closed)))
		r.jobSets(w, jobs)
		ports := r.ports()
		r.input(w, ports)
		r.forward(w)
		r.fromTasks(w, jobs, ports)
		r.toTasks(w, jobs)
	})
	w.block("table "+bridgeTable, func() {
		r.bridgeSets(w)
		if r.bridged {
			r.jobSets(w, jobs)
		}
		r.bridgeChains(w, jobs)
	})
	return w.b.String()
}

// jobs are those with tasks on this machine, in order.
func (r rules) jobs() []string {
	var jobs []string
	for _, t := range r.tasks {
		jobs = append(jobs, t.job)
	}
	slices.Sort(jobs)
	return slices.Compact(jobs)
}

// jobSets are two sets for each job: its tasks on this machine, and all of them.
func (r rules) jobSets(w *writer, jobs []string) {
	for i, job := range jobs {
		var here []netip.Addr
		elsewhere := map[netip.Addr]bool{} // pods of this machine of other jobs
		for _, t := range r.tasks {
			if t.job == job {
				here = append(here, t.address)
			} else {
				elsewhere[t.address] = true
			}
		}
		for _, a := range r.platform {
			elsewhere[a] = true
		}
		all := slices.Clone(here)
		for _, a := range r.peers[job] {
			// This machine knows better who has its addresses, and no one but pods is a task.
			if !elsewhere[a] && r.pods.Contains(a) {
				all = append(all, a)
			}
		}
		w.set(fmt.Sprintf("tasks%d", i), "ipv4_addr", false, texts(here))
		w.set(fmt.Sprintf("peers%d", i), "ipv4_addr", false, texts(all))
	}
}

// input is what pods send to this machine.
func (r rules) input(w *writer, ports []string) {
	w.block("chain input", func() {
		w.line("type filter hook input priority filter - 10; policy accept;")
		if len(r.machines) > 0 {
			w.line("udp dport %d ip saddr != @machines drop", vxlanPort)
		}
		w.line("iifname != %q accept", r.bridge)
		w.line("meta nfproto ipv6 accept") // the bridge has no IPv6 of tasks
		w.line("ct state established,related accept")
		w.line("ip saddr @platform accept")
		for _, p := range ports {
			w.line("%s accept", p)
		}
		w.line("drop")
	})
}

// forward is what pods of this machine send and get. A running connection stays.
func (r rules) forward(w *writer) {
	w.block("chain forward", func() {
		w.line("type filter hook forward priority filter - 10; policy accept;")
		w.line("ct state established,related accept")
		w.line("iifname %q meta nfproto ipv4 ip saddr != @platform jump from_tasks", r.bridge)
		w.line("oifname %q meta nfproto ipv4 ip daddr != @platform goto to_tasks", r.bridge)
	})
}

// fromTasks is what tasks, and pods that are not known yet, can reach.
func (r rules) fromTasks(w *writer, jobs, ports []string) {
	w.block("chain from_tasks", func() {
		for _, protocol := range []string{"udp", "tcp"} {
			w.line("meta l4proto %s ct original ip daddr %s ct original proto-dst 53 return", protocol, r.dns)
		}
		for i := range jobs {
			w.line("ip saddr @tasks%[1]d ip daddr @peers%[1]d return", i)
		}
		for _, p := range ports {
			w.line("%s return", p)
		}
		w.line("ip daddr @closed drop")
		for _, n := range r.networks() {
			w.line("%sreturn", n)
		}
		w.line("drop")
	})
}

// toTasks is what reaches tasks of this machine: tasks of the same job, and machines.
func (r rules) toTasks(w *writer, jobs []string) {
	w.block("chain to_tasks", func() {
		for i := range jobs {
			w.line("ip daddr @tasks%[1]d ip saddr @peers%[1]d accept", i)
		}
		w.line("ip saddr @machines accept")
		w.line("drop")
	})
}

// bridgeSets bind the port of a task to its addresses.
func (r rules) bridgeSets(w *writer) {
	var ports, bound []string
	for _, t := range r.tasks {
		ports = append(ports, fmt.Sprintf("%q", t.port))
		bound = append(bound, fmt.Sprintf("%q . %s . %s", t.port, t.mac, t.address))
	}
	w.set("ports", "ifname", false, ports)
	w.set("bound", "ifname . ether_addr . ipv4_addr", false, bound)
}

// bridgeChains drop frames with addresses of others, and with other protocols.
func (r rules) bridgeChains(w *writer, jobs []string) {
	w.block("chain prerouting", func() {
		w.line("type filter hook prerouting priority -300; policy accept;")
		w.line("iifname != @ports accept")
		w.line("ether type arp iifname . ether saddr . arp saddr ip @bound iifname . arp saddr ether . arp saddr ip @bound accept")
		w.line("ether type ip iifname . ether saddr . ip saddr @bound accept")
		w.line("drop")
	})
	if !r.bridged {
		return
	}
	// These do not know which connection a packet belongs to, and a packet to a service can
	// pass with the address of a pod. So they are only for kernels without br_netfilter.
	w.block("chain forward", func() {
		w.line("type filter hook forward priority -200; policy accept;")
		w.line("iifname != @ports accept")
		w.line("ether type != ip accept")
		for i := range jobs {
			w.line("ip saddr @tasks%[1]d ip daddr @peers%[1]d accept", i)
		}
		w.line("drop")
	})
}
