package inspect

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// localAddresses is the routing table of the kernel (Documentation/networking/fib_trie.rst
// of Linux).
const localAddresses = "/proc/net/fib_trie"

// addresses reports the IPv4 addresses that the machine has.
func (i *inspection) addresses(_ context.Context, c *Condition) error {
	text, err := i.read(localAddresses)
	if err != nil {
		return err
	}
	last := ""
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "|--":
			last = fields[1]
		case len(fields) == 3 && fields[0] == "/32" && fields[2] == "LOCAL":
			c.Addresses = append(c.Addresses, last)
		}
	}
	slices.Sort(c.Addresses)
	c.Addresses = slices.Compact(c.Addresses)
	if len(c.Addresses) == 0 {
		return errors.New(localAddresses + " has no address")
	}
	return nil
}
