package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
)

// operatorSSH is what the ssh of the operator would use for a machine: ssh_config(5)
// of the operator and of this host.
type operatorSSH struct {
	knownHosts    []string // files
	identityFiles []string
	// identitiesOnly: of the keys of the agent, only those of identityFiles are used.
	identitiesOnly   bool
	certificateFiles []string
	identityAgent    string // socket; empty for SSH_AUTH_SOCK
	noAgent          bool
	hostKeyAlias     string
	proxyJump        string
	proxyCommand     string
}

// sshConfigTimeout limits the question to ssh, which can run commands of the
// configuration.
const sshConfigTimeout = 10 * time.Second

// readOperatorSSH asks ssh. Without ssh on this host, there is no configuration.
func readOperatorSSH(ctx context.Context, t Endpoint) (operatorSSH, error) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return operatorSSH{}, nil //nolint:nilerr // PAI does not need the program
	}
	ctx, cancel := context.WithTimeout(ctx, sshConfigTimeout)
	defer cancel()
	args := append(t.configArgs(), "-G", "-p", fmt.Sprint(t.Port), "-l", t.User, "--", t.Address)
	cmd := exec.CommandContext(ctx, program, args...)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return operatorSSH{}, pai.Errorf(pai.CodeFailed, "correct the ssh configuration; to test it, run: ssh -G "+t.Address,
			"read the ssh configuration for machine %q: %w: %s", t.Name, err, strings.TrimSpace(failure.String()))
	}
	return parseOperatorSSH(out.String(), t), nil
}

// configArgs make ssh read the configuration of the endpoint.
func (t Endpoint) configArgs() []string {
	if t.SSHConfig == "" {
		return nil
	}
	return []string{"-F", t.SSHConfig}
}

// parseOperatorSSH reads the answer of "ssh -G": lines with a key and its value.
func parseOperatorSSH(text string, t Endpoint) operatorSSH {
	var o operatorSSH
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value == "" || value == "none" {
			o.noAgent = o.noAgent || key == "identityagent" && value == "none"
			continue
		}
		switch key {
		case "userknownhostsfile", "globalknownhostsfile":
			for _, file := range strings.Fields(value) {
				if file = inHome(file); file != "/dev/null" {
					o.knownHosts = append(o.knownHosts, file)
				}
			}
		case "identityfile":
			o.identityFiles = append(o.identityFiles, t.expand(value))
		case "identitiesonly":
			o.identitiesOnly = value == "yes"
		case "certificatefile":
			o.certificateFiles = append(o.certificateFiles, t.expand(value))
		case "identityagent":
			if value != "SSH_AUTH_SOCK" {
				o.identityAgent = inHome(os.ExpandEnv(value))
			}
		case "hostkeyalias":
			o.hostKeyAlias = value
		case "proxyjump":
			o.proxyJump = value
		case "proxycommand":
			o.proxyCommand = value
		}
	}
	return o
}

// expand replaces what names of files can contain: ~, tokens (TOKENS in ssh_config(5)), and
// variables of the environment.
func (t Endpoint) expand(file string) string {
	own, name := inHome("~/"), ""
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		name = u.Username
	}
	tokens := strings.NewReplacer("%%", "%", "%d", strings.TrimSuffix(own, "/"), "%h", t.Address, "%n", t.Address, "%p", fmt.Sprint(t.Port),
		"%r", t.User, "%u", name, "%i", strconv.Itoa(os.Getuid()))
	return os.Expand(tokens.Replace(inHome(file)), func(variable string) string { return os.Getenv(variable) })
}

// inHome replaces ~ at the start of a path, as ssh does: HOME does not matter.
func inHome(file string) string {
	rest, found := strings.CutPrefix(file, "~/")
	if !found {
		return file
	}
	own, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return file
	}
	return filepath.Join(own.HomeDir, rest)
}

// proxy is the command whose input and output are a connection to the machine; nil
// for a direct connection. ssh itself reaches the last jump host, with its keys,
// agents, and known hosts.
func (o operatorSSH) proxy(t Endpoint) []string {
	switch {
	case o.proxyJump != "":
		args := append(append([]string{"ssh"}, t.configArgs()...), "-o", "BatchMode=yes", "-W", t.HostPort())
		jumps := o.proxyJump
		last := jumps
		if at := strings.LastIndex(jumps, ","); at >= 0 {
			args, last = append(args, "-J", jumps[:at]), jumps[at+1:]
		}
		if !strings.HasPrefix(last, "ssh://") {
			last = "ssh://" + last
		}
		return append(args, "--", last)
	case o.proxyCommand != "":
		expand := strings.NewReplacer("%%", "%", "%h", t.Address, "%n", t.Address, "%p", fmt.Sprint(t.Port), "%r", t.User)
		return []string{"sh", "-c", "exec " + expand.Replace(o.proxyCommand)}
	default:
		return nil
	}
}

// errNoOperatorKey is returned where neither an agent nor a file has a key.
var errNoOperatorKey = errors.New("no key in an ssh-agent, and no key file")
