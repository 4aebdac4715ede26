package isolate

import (
	"context"
	"time"

	"k8s.io/klog/v2"
)

// connectionTable has the limit of connections. It is a table beside the rules of tasks,
// because those are written whole at each change, which would lose what the kernel counts.
const connectionTable = "inet pai-connections"

// maxConnections is how many connections, also those of UDP, the kernel tracks at a time
// for one task. When the kernel tracks as many as nf_conntrack_max in all, it drops what
// starts a new one, also to ssh of the machine. A machine with 1 to 4 GB of memory has
// 65536, a larger one 262144: one task takes a sixteenth at most. The kernel keeps an ended
// TCP connection for 120 s, so a task can start 34 in a second all the time.
const maxConnections = 4096

// connections is the input of nft for the limit. It replaces the chains and the addresses,
// and keeps what the kernel counts. It does not count what the rules of tasks drop, because
// it comes after them. The kernel says what is new, so what runs is never cut.
func (r rules) connections() string {
	w := &writer{}
	hooks := []string{"input", "forward"}
	w.block("table "+connectionTable, func() {
		w.block("set unlimited", func() { w.line("type ipv4_addr") })
		w.block("set counted", func() {
			w.line("type ipv4_addr")
			w.line("size 65535")
			w.line("flags dynamic")
		})
		for _, hook := range hooks {
			w.block("chain "+hook, func() { w.line("type filter hook %s priority filter - 9; policy accept;", hook) })
		}
	})
	for _, hook := range hooks {
		w.line("flush chain %s %s", connectionTable, hook)
	}
	w.line("flush set %s unlimited", connectionTable)
	w.block("table "+connectionTable, func() {
		w.set("unlimited", "ipv4_addr", false, texts(r.platform))
		for _, hook := range hooks {
			w.block("chain "+hook, func() {
				w.line("iifname %q ip saddr != @unlimited ct state new add @counted { ip saddr ct count over %d } drop", r.bridge, maxConnections)
			})
		}
	})
	return w.b.String()
}

// limit is what is known of the limit of connections.
type limit struct {
	applied string    // the text that is written; empty if it has to be written
	failed  time.Time // when the kernel or nft refused it last
}

// limitRetry is the pause after a refusal: a kernel without the module nft_connlimit
// refuses the limit until it is installed.
const limitRetry = time.Minute

// limitConnections writes the limit if it changed. It is no condition for anything: on a
// machine whose kernel cannot count connections, tasks run without it.
func (k *Keeper) limitConnections(ctx context.Context, now time.Time) {
	text := k.rules().connections()
	if text == k.limit.applied || now.Sub(k.limit.failed) < limitRetry {
		return
	}
	if _, err := run(ctx, text, "nft", "-f", "-"); err != nil {
		if ctx.Err() == nil {
			klog.ErrorS(err, "the connections of tasks are not limited; trying again in a minute")
			k.limit.failed = now
		}
		return
	}
	k.limit.applied = text
}
