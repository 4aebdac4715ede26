package config

import (
	"fmt"
	"strings"
)

func between(low, high int) format {
	return format{
		name: fmt.Sprintf("%d to %d", low, high), check: checkBetween(low, high),
		schema: map[string]any{"minimum": low, "maximum": high},
	}
}

func ports() format {
	f := between(1, 65535)
	f.name = "port"
	return f
}

func oneOf(allowed ...string) format {
	return format{name: "`" + strings.Join(allowed, "` or `") + "`", check: checkOneOf(allowed...), schema: map[string]any{"enum": allowed}}
}

func labels(limit int) format {
	return format{
		name: fmt.Sprintf("DNS label of %d", limit), check: checkLabel(limit),
		schema: map[string]any{"pattern": label.String(), "maxLength": limit},
	}
}

func words() format {
	return format{name: "name", check: checkWord, schema: map[string]any{"pattern": word.String()}}
}

func users() format {
	return format{name: "Linux user", check: checkUser, schema: map[string]any{"pattern": user.String()}}
}

func paths() format {
	return format{name: "absolute path", check: checkAbsolute, schema: map[string]any{"pattern": "^/"}}
}

func addresses() format {
	return format{name: "IPv4 address", check: checkAddress, schema: map[string]any{"format": "ipv4"}}
}

func ranges() format {
	return format{name: "IPv4 range", check: checkRange, schema: map[string]any{"pattern": `^[0-9]+(\.[0-9]+){3}/[0-9]+$`}}
}

func portRanges() format {
	return format{name: "`LOW-HIGH`", check: checkPortRange, schema: map[string]any{"pattern": "^[0-9]+-[0-9]+$"}}
}

func releaseNames() format {
	return format{name: "release", check: checkRelease, schema: map[string]any{"pattern": `^v[0-9]+(\.[0-9]+){1,2}$`}}
}

func kubernetesNames() format {
	return format{name: "PAI's Kubernetes", check: checkKubernetesVersion, schema: map[string]any{"pattern": `^v[0-9]+(\.[0-9]+){1,2}-pai$`}}
}

func bundleKeys() format {
	return format{name: "base64 Ed25519 public key", check: checkBundleKey, schema: map[string]any{"pattern": "^[A-Za-z0-9+/]{43}=$"}}
}
