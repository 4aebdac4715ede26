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

// A DNS label has at most 63 characters (RFC 1123). The namespace of a virtual
// cluster is its name after a prefix, and a cluster ID becomes part of names.
const (
	maxVirtualClusterName = 63 - len(pai.VirtualClusterNamespacePrefix)
	maxClusterID          = 40
)

var (
	label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	user  = regexp.MustCompile(`^[a-z_][-a-z0-9_]{0,31}$`)
	word  = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
)

// problemUnless is the message of a check.
func problemUnless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// quoted quotes a value of a file in a message.
func quoted(value string) string { return strconv.Quote(yamldoc.Shorten(value)) }

func schemas(allowed ...string) format {
	var numbers []int
	for _, v := range allowed {
		n, _ := strconv.Atoi(v) // the callers pass numbers
		numbers = append(numbers, n)
	}
	return format{schema: map[string]any{"enum": numbers}, check: func(value string) string {
		if n, err := strconv.Atoi(value); err == nil && n > Schema {
			return fmt.Sprintf("this paictl reads schemas up to %d, not %s: use a newer paictl", Schema, value)
		}
		return problemUnless(slices.Contains(allowed, value), "this file has schema %s, not %s", strings.Join(allowed, " or "), value)
	}}
}

func between(low, high int) format {
	return format{
		name: fmt.Sprintf("%d to %d", low, high), schema: map[string]any{"minimum": low, "maximum": high},
		check: func(value string) string {
			n, err := strconv.Atoi(value)
			return problemUnless(err == nil && n >= low && n <= high, "%s is not between %d and %d", value, low, high)
		},
	}
}

func ports() format {
	f := between(1, 65535)
	f.name = "port"
	return f
}

func oneOf(allowed ...string) format {
	return format{name: "`" + strings.Join(allowed, "` or `") + "`", schema: map[string]any{"enum": allowed}, check: func(value string) string {
		return problemUnless(slices.Contains(allowed, value), "%s must be %s", quoted(value), strings.Join(allowed, " or "))
	}}
}

func labels(limit int) format {
	return format{
		name: fmt.Sprintf("DNS label of %d", limit), schema: map[string]any{"pattern": label.String(), "maxLength": limit},
		check: func(value string) string {
			return problemUnless(len(value) <= limit && label.MatchString(value),
				"%s must have lowercase letters, digits, and hyphens only, start and end with a letter or digit, and have at most %d characters", quoted(value), limit)
		},
	}
}

func words() format {
	return format{name: "name", schema: map[string]any{"pattern": word.String()}, check: func(value string) string {
		return problemUnless(word.MatchString(value), "%s must have letters, digits, hyphens, dots, and underscores only, and at most 63 of them", quoted(value))
	}}
}

func users() format {
	return format{name: "Linux user", schema: map[string]any{"pattern": user.String()}, check: func(value string) string {
		return problemUnless(user.MatchString(value), "%s is not the name of a Linux user", quoted(value))
	}}
}

func paths() format {
	return format{name: "absolute path", schema: map[string]any{"pattern": "^/"}, check: func(value string) string {
		ok := path.IsAbs(value) && path.Clean(value) == value && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' })
		return problemUnless(ok, "%s must be an absolute path without . and .., and without control characters", quoted(value))
	}}
}

func addresses() format {
	return format{name: "IPv4 address", check: checkAddress, schema: map[string]any{"format": "ipv4"}}
}

func checkAddress(value string) string {
	a, err := netip.ParseAddr(value)
	switch {
	case err != nil:
		return quoted(value) + " is not an IP address"
	case !a.Is4():
		return value + " is not an IPv4 address, and PAI supports no other"
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return value + " is not an address at which other machines can reach this one"
	}
	return ""
}

// apiAddresses are addresses that endpoints of a service can have (ValidateEndpointIP of
// Kubernetes).
func apiAddresses() format {
	return format{name: "IPv4 address", schema: map[string]any{"format": "ipv4"}, check: func(value string) string {
		if problem := checkAddress(value); problem != "" {
			return problem
		}
		return problemUnless(!netip.MustParseAddr(value).IsLinkLocalUnicast(), "%s is a link-local address, which no endpoint of a service can have", value)
	}}
}

func ranges() format {
	return format{name: "IPv4 range", schema: map[string]any{"pattern": `^[0-9]+(\.[0-9]+){3}/[0-9]+$`}, check: func(value string) string {
		p, err := netip.ParsePrefix(value)
		switch {
		case err != nil:
			return quoted(value) + " is not an address range such as 10.244.0.0/16"
		case !p.Addr().Is4():
			return value + " is not an IPv4 range, and PAI supports no other"
		}
		return problemUnless(p.Masked() == p, "%s has bits set after its /%d: write %s", value, p.Bits(), p.Masked())
	}}
}

func portRanges() format {
	return format{name: "`LOW-HIGH`", schema: map[string]any{"pattern": "^[0-9]+-[0-9]+$"}, check: func(value string) string {
		_, _, ok := parsePortRange(value)
		return problemUnless(ok, "%s is not a range of ports such as 9000-9999", quoted(value))
	}}
}

// parsePortRange reads "9000-9999".
func parsePortRange(value string) (low, high int, ok bool) {
	a, b, found := strings.Cut(value, "-")
	low, errLow := strconv.Atoi(a)
	high, errHigh := strconv.Atoi(b)
	ok = found && errLow == nil && errHigh == nil && low >= 1 && low <= high && high <= 65535
	return low, high, ok && value == fmt.Sprintf("%d-%d", low, high)
}

func releaseNames() format {
	return format{name: "release", check: checkRelease, schema: map[string]any{"pattern": `^v[0-9]+(\.[0-9]+){1,2}$`}}
}

func checkRelease(value string) string {
	err := pai.CheckVersion(value)
	return problemUnless(err == nil && !strings.HasSuffix(value, "-pai"), "%s is not a release such as v0.10", quoted(value))
}

func kubernetesNames() format {
	return format{name: "PAI Kubernetes version", check: checkKubernetesVersion, schema: map[string]any{"pattern": `^v[0-9]+(\.[0-9]+){1,2}-pai$`}}
}

func checkKubernetesVersion(value string) string {
	err := pai.CheckVersion(value)
	return problemUnless(err == nil && strings.HasSuffix(value, "-pai"),
		"%s is not a PAI Kubernetes version such as v0.10-pai; to list them, run: paictl release list", quoted(value))
}

func capabilities() format {
	return format{name: "grantable capability", schema: map[string]any{"enum": pai.GrantableCapabilities()}, check: func(value string) string {
		return problemUnless(slices.Contains(pai.GrantableCapabilities(), value), "%s cannot be granted; these can: %s",
			quoted(value), strings.Join(pai.GrantableCapabilities(), ", "))
	}}
}

func bundleKeys() format {
	return format{name: "base64 Ed25519 public key", schema: map[string]any{"pattern": "^[A-Za-z0-9+/]{43}=$"}, check: func(value string) string {
		raw, err := base64.StdEncoding.Strict().DecodeString(value)
		// A decoder skips line breaks.
		if err != nil || len(raw) != ed25519.PublicKeySize || base64.StdEncoding.EncodeToString(raw) != value {
			return fmt.Sprintf("%s is not a base64 Ed25519 public key of %d bytes", quoted(value), ed25519.PublicKeySize)
		}
		return ""
	}}
}
