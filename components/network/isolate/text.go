package isolate

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// writer writes text for nft.
type writer struct {
	b     strings.Builder
	depth int
}

func (w *writer) line(format string, args ...any) {
	w.b.WriteString(strings.Repeat("\t", w.depth))
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

func (w *writer) block(head string, body func()) {
	w.line("%s {", head)
	w.depth++
	body()
	w.depth--
	w.line("}")
}

// set writes a set. Of ranges, it may have some that overlap.
func (w *writer) set(name, kind string, ranges bool, elements []string) {
	w.block("set "+name, func() {
		w.line("type %s", kind)
		if ranges {
			w.line("flags interval")
			w.line("auto-merge")
		}
		slices.Sort(elements)
		if elements = slices.Compact(elements); len(elements) > 0 {
			w.line("elements = { %s }", strings.Join(elements, ", "))
		}
	})
}

func texts(addresses []netip.Addr) []string {
	var list []string
	for _, a := range addresses {
		list = append(list, a.String())
	}
	return list
}

// matches are the conditions of one entry of the policies, for all tasks if it is of
// the present policy, else for the tasks that started with it.
func (r rules) matches(of func(Policy) []string) []string {
	list := of(r.policy)
	older := map[string][]netip.Addr{}
	policies := map[string]Policy{}
	for _, t := range r.tasks {
		if k := t.policy.key(); k != r.policy.key() {
			older[k], policies[k] = append(older[k], t.address), t.policy
		}
	}
	for _, k := range slices.Sorted(maps.Keys(policies)) {
		tasks := texts(older[k])
		slices.Sort(tasks)
		for _, condition := range of(policies[k]) {
			list = append(list, fmt.Sprintf("ip saddr { %s } %s", strings.Join(tasks, ", "), condition))
		}
	}
	return list
}

// ports are the conditions under which a packet goes to an open port.
func (r rules) ports() []string {
	return r.matches(func(p Policy) []string {
		var list []string
		for _, port := range p.Ports {
			list = append(list, fmt.Sprintf("meta l4proto %s ct original ip daddr %s ct original proto-dst %d-%d", port.Protocol, port.To, port.First, port.Last))
		}
		return list
	})
}

// networks are the conditions under which a packet goes to a network outside.
func (r rules) networks() []string {
	return r.matches(func(p Policy) []string {
		var list []string
		for _, n := range p.Networks {
			list = append(list, fmt.Sprintf("ip daddr %s ", n))
		}
		return list
	})
}
