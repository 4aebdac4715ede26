package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// A DNS label has 63 characters at most (RFC 1123); a virtual cluster's
// namespace is its name behind a prefix, a cluster's ID becomes part of names.
const (
	maxVirtualClusterName = 63 - len(pai.VirtualClusterNamespacePrefix)
	maxClusterID          = 40
)

var (
	label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	user  = regexp.MustCompile(`^[a-z_][-a-z0-9_]{0,31}$`)
	word  = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
)

func checkSchema(allowed ...string) func(string) string {
	return func(value string) string {
		if slices.Contains(allowed, value) {
			return ""
		}
		if n, err := strconv.Atoi(value); err == nil && n > Schema {
			return fmt.Sprintf("this PAI reads schemas up to %d, not %s: use a newer paictl", Schema, value)
		}
		return fmt.Sprintf("this file is of schema %s, not %s", strings.Join(allowed, " or "), value)
	}
}

func numbers(values []string) []int {
	var list []int
	for _, v := range values {
		n, err := strconv.Atoi(v)
		if err == nil {
			list = append(list, n)
		}
	}
	return list
}

func checkLabel(limit int) func(string) string {
	return func(value string) string {
		if len(value) <= limit && label.MatchString(value) {
			return ""
		}
		return fmt.Sprintf("%q must be lower-case letters, digits and hyphens, begin and end with a letter or digit, and have %d characters at most", yamldoc.Shorten(value), limit)
	}
}

func checkWord(value string) string {
	if word.MatchString(value) {
		return ""
	}
	return fmt.Sprintf("%q must be letters, digits, hyphens, dots and underscores, 63 at most", yamldoc.Shorten(value))
}

func checkUser(value string) string {
	if user.MatchString(value) {
		return ""
	}
	return fmt.Sprintf("%q is not the name of a Linux user", yamldoc.Shorten(value))
}

func checkAbsolute(value string) string {
	if path.IsAbs(value) && path.Clean(value) == value && !strings.ContainsAny(value, "\x00\n") {
		return ""
	}
	return fmt.Sprintf("%q must be an absolute path without . and ..", yamldoc.Shorten(value))
}

func checkAddress(value string) string {
	a, err := netip.ParseAddr(value)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not an IP address", yamldoc.Shorten(value))
	case !a.Is4():
		return fmt.Sprintf("%s is not an IPv4 address, and PAI knows only those", value)
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return value + " is not the address of one machine that others can reach"
	}
	return ""
}

func checkRange(value string) string {
	p, err := netip.ParsePrefix(value)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not an address range like 10.244.0.0/16", yamldoc.Shorten(value))
	case !p.Addr().Is4():
		return value + " is not an IPv4 range, and PAI knows only those"
	case p.Masked() != p:
		return fmt.Sprintf("%s has bits beyond its /%d: write %s", value, p.Bits(), p.Masked())
	}
	return ""
}

// parsePortRange reads "9000-9999".
func parsePortRange(value string) (low, high int, ok bool) {
	a, b, found := strings.Cut(value, "-")
	low, errLow := strconv.Atoi(a)
	high, errHigh := strconv.Atoi(b)
	ok = found && errLow == nil && errHigh == nil && low >= 1 && low <= high && high <= 65535
	return low, high, ok && value == fmt.Sprintf("%d-%d", low, high)
}

func checkPortRange(value string) string {
	if _, _, ok := parsePortRange(value); ok {
		return ""
	}
	return fmt.Sprintf("%q is not a range of ports like 9000-9999", yamldoc.Shorten(value))
}

func checkRelease(value string) string {
	if _, err := pai.ParseVersion(value); err != nil || strings.HasSuffix(value, "-pai") {
		return fmt.Sprintf("%q is not a release like v0.10", yamldoc.Shorten(value))
	}
	return ""
}

func checkKubernetesVersion(value string) string {
	if _, err := pai.ParseVersion(value); err != nil || !strings.HasSuffix(value, "-pai") {
		return fmt.Sprintf("%q is not a version of PAI's Kubernetes like v0.10-pai (`paictl release list` shows them)", yamldoc.Shorten(value))
	}
	return ""
}

func checkBundleKey(value string) string {
	raw, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return fmt.Sprintf("%q is not a base64 Ed25519 public key of %d bytes", yamldoc.Shorten(value), ed25519.PublicKeySize)
	}
	return ""
}

func checkOneOf(allowed ...string) func(string) string {
	return func(value string) string {
		for _, a := range allowed {
			if value == a {
				return ""
			}
		}
		return fmt.Sprintf("%q must be %s", yamldoc.Shorten(value), strings.Join(allowed, " or "))
	}
}

func checkBetween(low, high int) func(string) string {
	return func(value string) string {
		n, err := strconv.Atoi(value)
		if err == nil && n >= low && n <= high {
			return ""
		}
		return fmt.Sprintf("%s is not between %d and %d", value, low, high)
	}
}
