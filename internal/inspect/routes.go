package inspect

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// routingTable is the main routing table of the kernel (proc_net(5)).
const routingTable = "/proc/net/route"

// Route is an IPv4 route of the main table.
type Route struct {
	Interface string `json:"interface"`
	To        string `json:"to"` // 10.9.0.0/24; the default route has 0.0.0.0/0
}

// routes reports where packets go that are not for this machine.
func (i *inspection) routes(_ context.Context, c *Condition) error {
	text, err := i.read(routingTable)
	if err != nil {
		return err
	}
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] { // the first names the fields
		r, err := parseRoute(strings.Fields(line))
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", routingTable, n+2, err)
		}
		c.Routes = append(c.Routes, r)
	}
	return nil
}

// parseRoute reads a line: the interface, the destination, five other fields, and the mask.
func parseRoute(fields []string) (Route, error) {
	if len(fields) < 8 {
		return Route{}, fmt.Errorf("%d fields, want at least 8", len(fields))
	}
	to, errTo := hexAddress(fields[1])
	mask, errMask := hexAddress(fields[7])
	if errTo != nil || errMask != nil {
		return Route{}, fmt.Errorf("%s and %s are not an address and a mask", fields[1], fields[7])
	}
	ones := bits.LeadingZeros32(^binary.BigEndian.Uint32(mask[:]))
	return Route{fields[0], netip.PrefixFrom(netip.AddrFrom4(to), ones).String()}, nil
}

// hexAddress reads an address as the kernel prints it: as a number in the order of the host.
func hexAddress(text string) (a [4]byte, err error) {
	n, err := strconv.ParseUint(text, 16, 32)
	binary.NativeEndian.PutUint32(a[:], uint32(n))
	return a, err
}
