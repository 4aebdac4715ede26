package job

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSSHPlugin(t *testing.T) {
	t.Parallel()
	const key = "ssh-ed25519 AAAA alice"
	for _, c := range []struct{ parameters, want string }{
		{"{}", "<nil>"},
		{"{jobssh: false}", "<nil>"},
		{"{jobssh: false, userssh: {}}", "<nil>"},
		{"{userssh: {type: none, value: ''}}", "<nil>"},
		{"{jobssh: true}", "&{[] true [] 0s}"},
		{"{jobssh: 'true', userssh: {}}", "&{[] true [] 0s}"},
		{"{jobssh: true, sshbarrier: true}", "&{[] true [] 5h0m0s}"},
		{"{jobssh: true, sshbarrier: true, sshbarrierTimeout: 10}", "&{[] true [] 10m0s}"},
		{"{jobssh: false, sshbarrier: true}", "<nil>"},
		{"{userssh: {type: custom, value: '" + key + "'}}", "&{[] false [" + key + "] 0s}"},
		{`{userssh: {type: custom, value: "` + key + `\nssh-rsa BBBB bob"}}`, "&{[] false [" + key + " ssh-rsa BBBB bob] 0s}"},
		{"{userssh: {type: custom, value: 'command=\"x\" " + key + "'}}", "has a line that is no public key of ssh"},
		{"{userssh: {type: system, value: mine}}", "must be custom"},
		{"{userssh: {type: custom, value: <% $parameters.x %>}}", "parameter not found"},
		{"{userssh: {type: custom, value: '" + strings.Repeat("x", maxKeys+1) + "'}}", "the limit is 16384"},
		{"{jobssh: maybe}", "must be true or false"},
	} {
		spec, _, err := Parse([]byte(good+"extras:\n  com.microsoft.pai.runtimeplugin:\n    - plugin: ssh\n      parameters: "+c.parameters+"\n"), ParseOptions{})
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(spec.SSH)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.parameters, got, c.want)
		}
	}
}

// The key of a job is in its Secret, its public half in what all tasks read.
func TestKeyForSSH(t *testing.T) {
	t.Parallel()
	spec := parsed(t, good+"extras: {com.microsoft.pai.runtimeplugin: [{plugin: ssh, parameters: {jobssh: true}}]}\n")
	if _, err := spec.Objects("alice", nil, "texts"); !spec.NeedsKey() || err == nil {
		t.Errorf("without a key: %v", err)
	}
	spec.SSHKey = KeyPair{"the private half", "the public half"}
	o, err := spec.Objects("alice", nil, "texts")
	if err != nil {
		t.Fatal(err)
	}
	shared := o.Texts.Object["data"].(map[string]any)[keyEnvironment].(string)
	if !strings.Contains(shared, "pai_ssh_keys='the public half'") || strings.Contains(fmt.Sprint(o.Texts, o.JobSet), "the private half") {
		t.Errorf("got %s", shared[len(rendezvous):])
	}
}

// Rendered plugins are bounded as commands are.
func TestPluginsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(good + "parameters: {x: " + strings.Repeat("y", 60_000) + "}\nextras:\n  com.microsoft.pai.runtimeplugin:\n")
	for range 300 {
		b.WriteString("    - {plugin: cmd, parameters: {preCommands: [<% $parameters.x %>]}}\n    - {plugin: git, parameters: {repo_uri: <% $parameters.x %>, clone_dir: a}}\n")
	}
	var err error
	took := processorTime(t, func() { _, _, err = Parse([]byte(b.String()), ParseOptions{}) })
	if err == nil || !strings.Contains(err.Error(), "the limit is 131071") || took > 5*time.Second {
		t.Errorf("got %.200v after %s", err, took)
	}
}
