package cluster

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// flags are the flags of one program, each "--name=value".
type flags []string

// set sets a flag, in its place if it exists.
func (f flags) set(name, value string) flags {
	flag := "--" + name + "=" + value
	for i, old := range f {
		if flagName(old) == name {
			f = slices.Clone(f)
			f[i] = flag
			return f
		}
	}
	return append(slices.Clone(f), flag)
}

func (f flags) drop(name string) flags {
	return slices.DeleteFunc(slices.Clone(f), func(flag string) bool { return flagName(flag) == name })
}

func flagName(flag string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
	return name
}

// script is the shell script that a unit starts. It replaces itself with the
// program of a version. The lines in before come first.
func script(v pai.KubernetesVersion, r plan.Role, programName string, f flags, before ...string) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# Written by PAI: how " + string(r) + " of Kubernetes " + string(v) + " is started.\nset -eu\n")
	if needsNoProxy(v, r) {
		b.WriteString("# A proxy of the machine is not for the API.\nunset " + machine.ProxyVariables + "\n")
	}
	for _, line := range before {
		b.WriteString(line + "\n")
	}
	b.WriteString("exec " + layout.Program(v, programName))
	for _, flag := range f {
		b.WriteString(" \\\n  " + word(flag))
	}
	b.WriteString("\n")
	return b.String()
}

// firstWithoutProxy is the first version whose programs start without the proxy of
// the machine. The scripts of older versions stay as they are.
const firstWithoutProxy pai.KubernetesVersion = "v0.11-pai"

// needsNoProxy reports whether a program speaks only to the cluster. containerd
// can need a proxy, because it pulls images.
func needsNoProxy(v pai.KubernetesVersion, r plan.Role) bool {
	return r != plan.RoleRuntime && v.Compare(firstWithoutProxy) >= 0
}

// word quotes a flag for the shell if necessary.
func word(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=/.,:+@") == "" {
		return s
	}
	return machine.Quote(s)
}
