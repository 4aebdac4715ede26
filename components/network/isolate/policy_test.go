package isolate

import (
	"net/netip"
	"strings"
	"testing"
)

func TestReadConfig(t *testing.T) {
	t.Parallel()
	const good = `{"Network":"10.244.0.0/16","Tasks":{"services":"10.96.0.0/16","dns":"10.96.0.10","networks":["0.0.0.0/0"],"ports":[{"to":"10.0.0.5/32","protocol":"tcp","first":2049,"last":2049}]}}`
	c, err := ReadConfig([]byte(good))
	if err != nil || c == nil || c.DNS.String() != "10.96.0.10" || len(c.Networks) != 1 || c.Ports[0].First != 2049 {
		t.Fatalf("got %+v, %v", c, err)
	}
	if c, err := ReadConfig([]byte(`{"Network":"10.244.0.0/16"}`)); c != nil || err != nil {
		t.Errorf("got %v, %v of a release that keeps nothing apart, want none", c, err)
	}
	// Whatever else is in it would become text for nft.
	for _, change := range [][2]string{
		{`"0.0.0.0/0"`, `"10.0.0.1/8"`}, {`"0.0.0.0/0"`, `"::/0"`}, {`"0.0.0.0/0"`, `"x"`}, {`10.96.0.0/16`, `fd00::/64`}, {`"10.96.0.10"`, `"::1"`},
		{`"10.96.0.10"`, `""`}, {`"tcp"`, `"icmp"`}, {`"tcp"`, `"tcp accept #"`}, {`"first":2049`, `"first":0`}, {`"last":2049`, `"last":80`}, {`"last":2049`, `"last":70000`},
		{`10.0.0.5/32`, `10.0.0.5/24`}, {`"to":"10.0.0.5/32",`, ``},
	} {
		if c, err := ReadConfig([]byte(strings.Replace(good, change[0], change[1], 1))); err == nil {
			t.Errorf("%s instead of %s: got %+v, want an error", change[1], change[0], c)
		}
	}
}

// r4 are ranges of IPv4 addresses.
func r4(list ...string) []netip.Prefix {
	var ranges []netip.Prefix
	for _, text := range list {
		ranges = append(ranges, netip.MustParsePrefix(text))
	}
	return ranges
}
