package isolate

import (
	"context"
	"os"
	"os/exec"
	"time"

	"k8s.io/klog/v2"
)

// AnchorTable is a table that "nft flush ruleset" leaves alone, because a process owns
// it. While it exists, the kernel keeps following connections and translating the
// addresses of those that are open. Without it, a packet that arrives in the second
// before the rules are back would be refused, and its connection would end.
const AnchorTable = "ip pai-anchor"

// anchorCommands are for an interactive nft, which owns the table until it ends.
const anchorCommands = `add table ` + AnchorTable + ` { flags owner; }
add chain ` + AnchorTable + ` nat { type nat hook postrouting priority 200; policy accept; }
add chain ` + AnchorTable + ` track { type filter hook prerouting priority -150; policy accept; }
add rule ` + AnchorTable + ` track ct state new accept
`

// anchorRetry is how long a new process waits for the table of the previous one to go.
const anchorRetry = 2 * time.Second

// KeepAnchor keeps the anchor until ctx ends. On a machine whose nft or kernel cannot
// do it, rules come back without it.
func KeepAnchor(ctx context.Context) {
	for ctx.Err() == nil {
		if err := holdAnchor(ctx); ctx.Err() == nil {
			klog.V(1).InfoS("the anchor of open connections ended; setting it again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(anchorRetry):
		}
	}
}

func holdAnchor(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "nft", "-i")
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "HOME=/dev/null") // where it would leave a history
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := in.Write([]byte(anchorCommands)); err != nil {
		klog.V(1).InfoS("the anchor of open connections was not set", "err", err)
	}
	return cmd.Wait() // it ends with its input, which is this program's
}
